"""A consortium that exists in this process alone: certificates as FLARE makes them, and the roster of their sites."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from almoner.schema.consortium import Roster, RosterEntry

_ROOT = "root"
_YEARS = 100
_KEY_BITS = 2048


@dataclass(frozen=True)
class TrialConsortium:
    """Sites whose keys were all made here, and protect nobody.

    Args:
        roster: of the sites.
        root_pem: the certificate that issued theirs.
        private_keys: of each site's certificate, PEM.
    """

    roster: Roster
    root_pem: bytes
    private_keys: dict[str, bytes] = field(repr=False)

    @staticmethod
    def of(sizes: Mapping[str, int], dataset: str) -> "TrialConsortium":
        """Make keys, certificates and a roster; a tenth of a second a site.

        Args:
            sizes: declared size of the data set at each site.
            dataset: its name.
        """
        root, keys = _new_key(), {site: _new_key() for site in sizes}
        root_pem = _certificate(_ROOT, root, root).public_bytes(serialization.Encoding.PEM)
        entries = tuple(
            _entry(site, _certificate(site, key, root), {dataset: sizes[site]}) for site, key in keys.items()
        )
        roster = Roster(schema_version=1, consortium="trial", sites=entries, studies={})
        return TrialConsortium(roster, root_pem, {site: _pem(key) for site, key in keys.items()})


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _certificate(name: str, key: rsa.RSAPrivateKey, root: rsa.RSAPrivateKey) -> x509.Certificate:
    """Issue somebody's certificate."""
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (_ROOT, name))
    start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(start).not_valid_after(start + datetime.timedelta(days=365 * _YEARS))
    return builder.sign(root, hashes.SHA256())


def _entry(site: str, certificate: x509.Certificate, sizes: dict[str, int]) -> RosterEntry:
    return RosterEntry(
        site=site,
        certificate_sha256=certificate.fingerprint(hashes.SHA256()).hex(),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        nominal_records=sizes,
    )
