"""A request is signed only if it asks for exactly what its form says; everything else is refused in one line."""

import io
import json
import zipfile
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import AttributeOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from kit_cases import make_key

from almoner.errors import ProvisioningError
from almoner.provision.requests import key_fingerprint, read_request, render_forms, render_participant
from almoner.schema.declarations import Declarations
from almoner.schema.enrolment import RequestForm

SITE = RequestForm(schema_version=1, consortium="c", name="va-long-beach", org="va-long-beach", role="client")
USER = RequestForm(schema_version=1, consortium="c", name="lead@va.example", org="va-long-beach", role="lead")
KEY = make_key()


def csr_builder(form: RequestForm, **other: str) -> x509.CertificateSigningRequestBuilder:
    fields = {"name": form.name, "org": form.org.replace("-", "_"), "role": form.role} | other
    oids = {"name": NameOID.COMMON_NAME, "org": NameOID.ORGANIZATION_NAME, "role": NameOID.UNSTRUCTURED_NAME}
    oids |= {"country": NameOID.COUNTRY_NAME, "second_name": NameOID.COMMON_NAME}
    subject = x509.Name([x509.NameAttribute(oids[field], value) for field, value in fields.items() if value])
    return x509.CertificateSigningRequestBuilder().subject_name(subject)


def sign(builder: x509.CertificateSigningRequestBuilder, key: Any = KEY) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def meta_of(form: RequestForm) -> dict[str, Any]:
    kind = "site" if form.role == "client" else "user"
    return {
        "project": form.consortium,
        "name": form.name,
        "org": form.org.replace("-", "_"),
        "kind": kind,
        "cert_type": form.role,
        "cert_role": None if kind == "site" else form.role,
    }


def files_of(form: RequestForm, csr: bytes | None = None) -> dict[str, bytes]:
    return {
        "request.json": json.dumps(meta_of(form)).encode(),
        "site.yaml": yaml.safe_dump(render_participant(form), sort_keys=False).encode(),
        f"{form.name}.csr": sign(csr_builder(form)) if csr is None else csr,
    }


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def refused(archive: bytes, form: RequestForm = SITE) -> str:
    with pytest.raises(ProvisioningError) as caught:
        read_request(archive, form, "the.request.zip")
    text = str(caught.value)
    assert text.startswith("the.request.zip: ")
    assert text.isprintable()
    return text


@pytest.mark.parametrize("form", [SITE, USER])
def test_a_request_as_its_form_says(form: RequestForm) -> None:
    request = read_request(zipped(files_of(form)), form, "x")
    assert request.public_key == KEY.public_key()
    assert request.key_sha256 == key_fingerprint(KEY.public_key())


def test_forms_for_all_whom_flare_can_issue_certificates(declarations: Declarations) -> None:
    forms = render_forms(declarations.consortium)
    assert set(declarations.consortium.sites) < set(forms)
    assert forms["lead@cleveland.example"].role == "lead"
    unknown = {user.name for user in declarations.consortium.users} - set(forms)
    assert unknown == {"admin@coordinating-centre.example", "trainee@hungary.example"}


@pytest.mark.parametrize(
    "other",
    [
        {"name": "hungary"},
        {"org": "hungary"},
        {"role": "lead"},
        {"role": "server"},
        {"role": "project_admin"},
        {"role": ""},
        {"org": ""},
        {"country": "US"},
        {"second_name": "hungary"},
    ],
)
def test_a_signing_request_for_another_name_organisation_or_role(other: dict[str, str]) -> None:
    text = refused(zipped(files_of(SITE, sign(csr_builder(SITE, **other)))))
    assert "it asks for " in text
    assert "not for 'va-long-beach' of 'va_long_beach' with the role 'client' alone" in text


@pytest.mark.threat("T-150")
def test_a_members_request_for_leads_rights() -> None:
    member = USER.model_copy(update={"role": "member"})
    assert "with the role 'lead', not for" in refused(zipped(files_of(member, sign(csr_builder(USER)))), member)
    assert "its site.yaml" in refused(zipped(files_of(USER)), member)


@pytest.mark.parametrize(
    "extension",
    [
        x509.BasicConstraints(ca=True, path_length=None),
        x509.SubjectAlternativeName([x509.DNSName("localhost")]),
        x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING]),
    ],
)
def test_extensions(extension: x509.ExtensionType) -> None:
    csr = sign(csr_builder(SITE).add_extension(extension, critical=False))
    assert "it asks for extensions" in refused(zipped(files_of(SITE, csr)))


def test_attributes() -> None:
    csr = sign(csr_builder(SITE).add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret"))
    assert "it asks for extensions" in refused(zipped(files_of(SITE, csr)))


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        rsa.generate_private_key(public_exponent=3, key_size=2048),
    ],
    ids=["not RSA", "short", "small exponent"],
)
def test_weak_keys(key: Any) -> None:
    assert "its key is not an RSA key of 2048" in refused(zipped(files_of(SITE, sign(csr_builder(SITE), key))))


@pytest.mark.threat("T-150")
def test_a_key_that_the_sender_does_not_have() -> None:
    der = bytearray(x509.load_pem_x509_csr(sign(csr_builder(SITE))).public_bytes(Encoding.DER))
    der[-1] ^= 1
    csr = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    assert "it is not signed by its own key" in refused(zipped(files_of(SITE, csr)))


def test_another_digest() -> None:
    csr = csr_builder(SITE).sign(KEY, hashes.SHA512()).public_bytes(Encoding.PEM)
    assert "with SHA-256" in refused(zipped(files_of(SITE, csr)))


@pytest.mark.parametrize("field", list(meta_of(SITE)))
def test_meta_data_that_say_something_else(field: str) -> None:
    meta = json.dumps(meta_of(SITE) | {field: "other"}).encode()
    assert f"its {field} is not " in refused(zipped(files_of(SITE) | {"request.json": meta}))


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 30000, b"\xff"])
def test_meta_data_that_are_none(content: bytes) -> None:
    assert "its project is not 'c'" in refused(zipped(files_of(SITE) | {"request.json": content}))


def test_settings_for_flare() -> None:
    definition = render_participant(SITE) | {"builders": [{"path": "os.system", "args": {}}]}
    smuggled = yaml.safe_dump(definition, sort_keys=False).encode()
    assert "its site.yaml is not the one" in refused(zipped(files_of(SITE) | {"site.yaml": smuggled}))


def test_a_private_key_is_not_taken_along() -> None:
    pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "does not hold exactly" in refused(zipped(files_of(SITE) | {"va-long-beach.key": pem}))


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "request.json/../x"])
def test_paths(name: str) -> None:
    assert "does not hold exactly" in refused(zipped(files_of(SITE) | {name: b""}))


def test_a_zip_bomb() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_of(SITE):
            archive.writestr(name, b"\0" * 3_000_000)
    assert "larger than any request" in refused(buffer.getvalue())


def test_another_participants_request() -> None:
    assert "does not hold exactly" in refused(zipped(files_of(USER)), SITE)


@settings(max_examples=200)
@given(data=st.data())
def test_any_changed_byte_is_taken_or_refused_in_one_line(data: st.DataObject) -> None:
    archive = bytearray(zipped(FILES))
    archive[data.draw(st.integers(0, len(archive) - 1))] ^= data.draw(st.integers(1, 255))
    outcome = key_or_refusal(bytes(archive))
    assert outcome == KEY.public_key() or (isinstance(outcome, str) and outcome.isprintable())


def key_or_refusal(archive: bytes) -> object:
    try:
        return read_request(archive, SITE, "x").public_key
    except ProvisioningError as error:
        return str(error)


FILES = files_of(SITE)
