"""Says who runs a command at a site: whoever holds the key of a startup kit that the consortium's root vouches for."""

import io
import tempfile
import zipfile
from pathlib import Path

from nvflare.lighter.utils import load_private_key_file, sign_folders

from almoner.errors import ProvisioningError
from almoner.flare.door.render import render_app
from almoner.flare.door.upload import SignedApp, read_signed_app
from almoner.schema.envelope import JobEnvelope
from almoner.schema.revocation import Revocations


def sign_envelope(envelope: JobEnvelope, user_kit: Path, root_ca: Path, revoked: Revocations) -> SignedApp:
    """Sign an envelope as FLARE's console does, and read it as a site's door does.

    *Guarantee*: the signer of what is returned held the private key of that certificate now.

    Args:
        user_kit: the user's startup kit.
        root_ca: the root certificate that the site trusts.
        revoked: what the site's policy and its floor revoke.

    Raises:
        ProvisioningError: the kit has no usable key.
        PolicyViolation: the kit is of another consortium, or its certificate does not count any more.
    """
    startup = user_kit / "startup"
    with tempfile.TemporaryDirectory(prefix="almoner-sign-") as folder:
        app = Path(folder)
        for name, content in render_app(envelope).items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_bytes(content)
        try:
            sign_folders(folder, load_private_key_file(str(startup / "client.key")), str(startup / "client.crt"))
        except (OSError, ValueError, TypeError):
            raise ProvisioningError(f"{user_kit}: no user's kit with a usable key → give yours with --kit") from None
        return read_signed_app(_zip(app), root_ca, revoked)


def _zip(folder: Path) -> bytes:
    """Return a folder as a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    return buffer.getvalue()
