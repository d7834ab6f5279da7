"""A submitted zip: bounded in every way, unpacked nowhere it should not be, and signed by exactly one user."""

import io
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from flare_cases import Pki, envelope
from hypothesis import given, settings
from hypothesis import strategies as st
from nvflare.lighter.utils import (
    Identity,
    generate_cert,
    generate_keys,
    load_private_key_file,
    serialize_cert,
    sign_folders,
)

from almoner.errors import CertificateRefused, PolicyViolation
from almoner.flare.door import upload
from almoner.flare.door.render import render_app
from almoner.flare.door.upload import MAX_FILES, MAX_UNPACKED_BYTES, SignedApp, read_signed_app
from almoner.provision.roster import fingerprint
from almoner.schema.revocation import Revocation

Entries = list[tuple[str | zipfile.ZipInfo, bytes]]
SIGNATURE, CERTIFICATE = ".__nvfl_sig.json", ".__nvfl_submitter.crt"


def make_zip(entries: Entries, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")  # duplicate names are what some cases are about
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_folder(folder: Path) -> bytes:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return make_zip([(path.relative_to(folder).as_posix(), path.read_bytes()) for path in paths])


@pytest.fixture
def sign(pki: Pki, tmp_path: Path) -> Callable[..., Path]:
    """Write an app and sign it, as FLARE's admin client does; return its folder."""

    def make(signer: str = "lead", files: dict[str, bytes] | None = None, folder: str = "app") -> Path:
        app = tmp_path / folder
        for name, content in (render_app(envelope()) if files is None else files).items():
            (app / name).parent.mkdir(parents=True, exist_ok=True)
            (app / name).write_bytes(content)
        sign_folders(str(app), load_private_key_file(str(pki.key(signer))), str(pki.certificate(signer)))
        return app

    return make


@pytest.fixture
def read(pki: Pki) -> Callable[[bytes], SignedApp]:
    return lambda data: read_signed_app(data, pki.root, ())


def refused(read: Callable[[bytes], SignedApp], data: bytes) -> str:
    with pytest.raises(PolicyViolation) as caught:
        read(data)
    assert str(caught.value).isprintable()
    return str(caught.value)


def revocation(pki: Pki, name: str, since: date) -> Revocation:
    certificate = x509.load_pem_x509_certificate(pki.certificate(name).read_bytes())
    return Revocation(certificate_sha256=fingerprint(certificate), since=since, reason="the laptop was stolen")


Read, Sign = Callable[[bytes], SignedApp], Callable[..., Path]


class TestSignatures:
    def test_an_honest_app(self, read: Read, sign: Sign) -> None:
        app = read(zip_folder(sign()))
        assert app.files == render_app(envelope())
        assert (app.signer.name, app.signer.org, app.signer.role) == ("lead@cleveland.example", "cleveland", "lead")

    def test_certificates_that_are_no_users_have_no_role(self, read: Read, sign: Sign) -> None:
        assert read(zip_folder(sign("server"))).signer.role == ""
        assert read(zip_folder(sign("cleveland", folder="other"))).signer.role == ""

    @pytest.mark.threat("T-157")
    def test_a_user_whose_certificate_is_revoked(self, pki: Pki, sign: Sign) -> None:
        data, today = zip_folder(sign()), datetime.now(UTC).date()
        for others in ((), (revocation(pki, "trainee", today),), (revocation(pki, "lead", today + timedelta(days=2)),)):
            assert read_signed_app(data, pki.root, others).signer.name == "lead@cleveland.example"
        with pytest.raises(CertificateRefused, match=f"is revoked since {today}: the laptop was stolen"):
            read_signed_app(data, pki.root, (revocation(pki, "lead", today),))

    @pytest.mark.threat("T-157")
    def test_a_revoked_certificate_in_one_folder_of_two(self, pki: Pki, sign: Sign, tmp_path: Path) -> None:
        """Two certificates of one user: FLARE tells signers apart by name, organisation and role."""
        key, public = generate_keys()
        lead, root = Identity("lead@cleveland.example", "cleveland", "lead"), Identity("root")
        issuer_key = load_private_key_file(str(pki.folder / "root.key"))
        newer = tmp_path / "newer.crt"
        newer.write_bytes(serialize_cert(generate_cert(lead, root, issuer_key, public)))
        app = sign(files={"config/a.json": b"{}", "b.json": b"{}"})
        sign_folders(str(app / "config"), key, str(newer))
        data, today = zip_folder(app), datetime.now(UTC).date()
        assert read_signed_app(data, pki.root, ()).signer.role == "lead"
        with pytest.raises(CertificateRefused, match="is revoked"):
            read_signed_app(data, pki.root, (revocation(pki, "lead", today),))

    def test_two_users_in_two_folders(self, read: Read, sign: Sign) -> None:
        lead, trainee = sign("lead"), sign("trainee", folder="by-trainee")
        for name in (SIGNATURE, CERTIFICATE):
            (lead / "config" / name).write_bytes((trainee / "config" / name).read_bytes())
        assert refused(read, zip_folder(lead)) == "the app's folders have different signers"

    def test_an_envelope_of_another_in_a_folder_that_the_lead_signed(self, read: Read, sign: Sign) -> None:
        # the lead's signature over the outer folder holds; the inner one is replaced whole by a stranger's
        lead, stranger = sign("lead"), sign("stranger", folder="by-stranger")
        for path in (stranger / "config").iterdir():
            (lead / "config" / path.name).write_bytes(path.read_bytes())
        assert refused(read, zip_folder(lead)) == "a file of the app was changed after it was signed"

    def test_another_root(self, read: Read, sign: Sign) -> None:
        assert refused(read, zip_folder(sign("stranger"))) == "a file of the app was changed after it was signed"

    @pytest.mark.parametrize("where", [SIGNATURE, CERTIFICATE, f"config/{SIGNATURE}", f"config/{CERTIFICATE}"])
    def test_a_missing_signature_or_certificate(self, read: Read, sign: Sign, where: str) -> None:
        app = sign()
        (app / where).unlink()
        message = refused(read, zip_folder(app))
        assert message in ("the app is not signed", "a file of the app was changed after it was signed")

    @pytest.mark.threat("T-02")
    @pytest.mark.parametrize(
        "change",
        [
            lambda app: (app / "config/almoner_job.json").write_bytes(b"{}"),
            lambda app: (app / "config/almoner_job.json").rename(app / "config/other.json"),
            lambda app: (app / "config/added.json").write_bytes(b"{}"),
            lambda app: (app / "added.json").write_bytes(b"{}"),
            lambda app: (app / "custom").mkdir() or (app / "custom/x.py").write_bytes(b""),
            lambda app: (app / SIGNATURE).write_bytes(b"{}"),
            lambda app: (app / f"config/{SIGNATURE}").write_bytes(b"not json"),
            lambda app: (app / f"config/{CERTIFICATE}").write_bytes(b"not a certificate"),
        ],
    )
    def test_any_change_after_signing(self, read: Read, sign: Sign, change: Callable[[Path], object]) -> None:
        app = sign()
        change(app)
        assert refused(read, zip_folder(app)) == "a file of the app was changed after it was signed"

    def test_unsigned(self, read: Read) -> None:
        data = make_zip(list(render_app(envelope()).items()))
        assert refused(read, data) == "the app is not signed"

    def test_nothing_stays_in_the_temporary_folder(
        self, read: Read, sign: Sign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        read(zip_folder(sign()))
        refused(read, make_zip([(SIGNATURE, b""), ("a", b""), ("a/b", b"")]))
        assert list((tmp_path / "tmp").iterdir()) == []


UNUSABLE = [
    "../x", "a/../../x", "/etc/passwd", "a\\b", "..", "a/..", "C:\\x", "//x",
]  # fmt: skip


class TestZip:
    @pytest.mark.parametrize("name", UNUSABLE)
    def test_names_that_leave_the_folder(self, read: Read, name: str, tmp_path: Path) -> None:
        assert "a file with an unusable name" in refused(read, make_zip([(SIGNATURE, b"{}"), (name, b"x")]))

    @pytest.mark.parametrize(
        "entries",
        [
            [("a", b"1"), ("a/b", b"2")],
            [("a/b", b"1"), ("a", b"2")],
            [(".", b"1")],
            [("x" * 300, b"1")],
            [("/".join(["d" * 200] * 30), b"1")],
        ],
    )
    def test_names_that_do_not_fit_into_one_folder(self, read: Read, entries: Entries) -> None:
        message = refused(read, make_zip([(SIGNATURE, b"{}"), *entries]))
        assert message == "the app has files whose names do not fit into one folder"

    @pytest.mark.parametrize("second", ["config/a", "config//a", "./config/a", "config/./a"])
    def test_duplicate_names(self, read: Read, second: str) -> None:
        data = make_zip([(SIGNATURE, b"{}"), ("config/a", b"1"), (second, b"2")])
        assert "a file with an unusable name" in refused(read, data)

    @pytest.mark.threat("T-11")
    def test_a_name_that_climbs_out_writes_nothing(
        self, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
        (tmp_path / "tmp").mkdir()
        refused(read, make_zip([(SIGNATURE, b"{}"), ("../../resources.json", b"{}")]))
        assert not (tmp_path / "resources.json").exists()

    def test_names_in_refusals_cannot_break_the_line(self, read: Read) -> None:
        data = make_zip([(SIGNATURE, b"{}"), ("../\nadmitted by all\x1b[2J", b"")])
        assert "unusable name" in refused(read, data)

    def test_links_become_plain_files(self, read: Read, sign: Sign) -> None:
        app = sign(files={"config/link": b"/etc/passwd"})
        link = zipfile.ZipInfo("config/link")
        link.external_attr = 0o120777 << 16
        rest = [
            (p.relative_to(app).as_posix(), p.read_bytes()) for p in app.rglob("*") if p.is_file() and p.name != "link"
        ]
        files = read(make_zip([*rest, (link, b"/etc/passwd")])).files
        assert files == {"config/link": b"/etc/passwd"}  # its text, never what it would lead to

    def test_as_many_files_as_allowed_and_one_more(self, read: Read) -> None:
        entries: Entries = [(f"f{number}", b"") for number in range(MAX_FILES)]
        assert refused(read, make_zip(entries)) == "the app is not signed"
        assert "larger than any job" in refused(read, make_zip([*entries, ("one-more", b"")]))

    def test_declared_bombs(self, read: Read) -> None:
        half = b"\0" * (MAX_UNPACKED_BYTES // 2)
        assert refused(read, make_zip([("a", half), ("b", half)])) == "the app is not signed"
        assert "larger than any job" in refused(read, make_zip([("a", half), ("b", half), ("c", b"1")]))

    def test_undeclared_bombs(self, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
        size = 50_000_000
        honest = make_zip([("a", b"\0" * size)])
        assert len(honest) < 100_000
        lying = honest.replace(struct.pack("<I", size), struct.pack("<I", 10))
        assert lying.count(struct.pack("<I", 10)) >= 2  # local and central header
        taken: list[int] = []
        whole = zipfile.ZipExtFile.read

        def counted(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
            data = whole(self, n)
            taken.append(len(data))
            return data

        monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
        assert refused(read, lying) == "the app is not a readable zip"
        assert sum(taken) <= MAX_UNPACKED_BYTES

    def test_encrypted_entries(self, read: Read) -> None:
        data = bytearray(make_zip([("a", b"secret")]))
        for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            data[data.index(magic) + offset] |= 1
        assert refused(read, bytes(data)) == "the app is not a readable zip"

    @pytest.mark.parametrize("data", [b"", b"PK", b"not a zip", b"PK\5\6" + b"\0" * 18, b"\0" * 1000])
    def test_garbage(self, read: Read, data: bytes) -> None:
        assert refused(read, data) in ("the app is not a readable zip", "the app is not signed")

    @settings(max_examples=400)
    @given(
        compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
        changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5),
        cut=st.none() | st.floats(0, 1),
    )
    def test_damaged_zips_raise_nothing_else(
        self, compression: int, changes: list[tuple[float, int]], cut: float | None
    ) -> None:
        data = bytearray(make_zip([(SIGNATURE, b"{}"), ("config/a", b"hello world " * 50)], compression))
        for where, value in changes:
            data[int(where * len(data))] = value
        damaged = bytes(data if cut is None else data[: int(cut * len(data))])
        with pytest.raises(PolicyViolation) as caught:
            read_signed_app(damaged, Path("/nonexistent"), ())
        assert str(caught.value).isprintable()

    @pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
    def test_damaged_content_of_every_compression(self, read: Read, compression: int) -> None:
        whole = make_zip([("a", bytes(range(256)) * 40)], compression)
        start = whole.index(b"a") + 1
        for index in range(start, start + 60):
            refused(read, whole[:index] + bytes([whole[index] ^ 0xFF]) + whole[index + 1 :])

    def test_an_entry_without_a_name(self, read: Read) -> None:
        data = make_zip([("a", b"1")])
        nameless = data.replace(b"PK\1\2", b"PK\1\2", 1)
        at = nameless.index(b"PK\1\2") + 28
        nameless = nameless[:at] + struct.pack("<H", 0) + nameless[at + 2 :]
        assert refused(read, nameless) == "the app is not a readable zip"


def test_the_bounds_leave_room_for_what_we_render() -> None:
    files = render_app(envelope())
    assert len(files) + 4 < MAX_FILES / 2
    assert sum(map(len, files.values())) < MAX_UNPACKED_BYTES / 100
    assert upload.MAX_UNPACKED_BYTES < 10_000_000
