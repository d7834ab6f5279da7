"""A kit is started only if it is byte for byte the one that was signed; what differs is named."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit_cases import self_signed

from almoner.errors import ProvisioningError
from almoner.provision import manifest as manifest_module
from almoner.provision.manifest import list_files, sign_kit, verify_kit
from almoner.provision.names import MANIFEST_FILE, MANIFEST_SIGNATURE_FILE
from almoner.schema.base import canonical_json

SIGNED = (
    "local/almoner_policy.yaml", "local/privacy.json", "local/resources.json", "startup/another.key",
    "startup/client.crt", "startup/client.key", "startup/start.sh",
)  # fmt: skip
MANIFEST, SIGNATURE = f"startup/{MANIFEST_FILE}", f"startup/{MANIFEST_SIGNATURE_FILE}"
SLOW_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)


def refused(kit: Path) -> str:
    """Return the text of the refusal: one line that names a file of the kit."""
    with pytest.raises(ProvisioningError) as caught:
        verify_kit(kit)
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(str(kit))
    return str(caught.value)


def test_the_kit_that_was_signed_is_accepted(kit: Path) -> None:
    verify_kit(kit)
    assert set(list_files(kit)) == {*SIGNED, "startup/rootCA.pem", "local/deeper/empty"}


@SLOW_FIXTURE
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_found_and_named(shared_kit: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*SIGNED, "startup/rootCA.pem", MANIFEST, SIGNATURE]))
    path = shared_kit / name
    before = path.read_bytes()
    changed = bytearray(before)
    changed[data.draw(st.integers(0, len(before) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(changed)
        message = refused(shared_kit)
    finally:
        path.write_bytes(before)
    if name in SIGNED:
        assert message == f"{path}: was changed after provisioning → restore the kit that was signed"
    elif name == "startup/rootCA.pem":  # where its key is changed, the manifest's signature no longer verifies
        assert message.startswith((str(path), str(shared_kit / MANIFEST)))
    else:
        assert message == f"{shared_kit / MANIFEST}: signature does not verify → restore the kit"


def test_every_byte_of_the_root_certificate(shared_kit: Path) -> None:
    path = shared_kit / "startup/rootCA.pem"
    before = path.read_bytes()
    try:
        for index in range(0, len(before), 3):
            path.write_bytes(before[:index] + bytes([before[index] ^ 2]) + before[index + 1 :])
            refused(shared_kit)
    finally:
        path.write_bytes(before)
    verify_kit(shared_kit)


@pytest.mark.threat("T-07")
@SLOW_FIXTURE
@given(
    folder=st.sampled_from(["startup", "local", "local/deeper", "local/custom", "startup/a/b"]),
    name=st.from_regex(r"\A[A-Za-z0-9._-]{1,30}\Z").filter(lambda name: name.strip(".")),
    content=st.binary(max_size=20),
)
def test_any_added_file_is_found_and_named(shared_kit: Path, folder: str, name: str, content: bytes) -> None:
    path = shared_kit / folder / f"added-{name}"
    made = [parent for parent in (path.parent, path.parent.parent) if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(content)
        message = refused(shared_kit)
    finally:
        path.unlink()
        for parent in made:
            parent.rmdir()
    assert message == f"{path}: was added after provisioning → restore the kit that was signed"


@pytest.mark.parametrize("name", [*SIGNED, "local/deeper/empty"])
def test_any_deleted_file_is_found_and_named(kit: Path, name: str) -> None:
    (kit / name).unlink()
    assert refused(kit) == f"{kit / name}: was deleted after provisioning → restore the kit that was signed"


@pytest.mark.parametrize("name", ["startup/rootCA.pem", MANIFEST, SIGNATURE])
def test_a_kit_without_its_proof_is_incomplete(kit: Path, name: str) -> None:
    (kit / name).unlink()
    assert refused(kit) == f"{kit / name}: No such file or directory → this is not a complete startup kit"


def test_a_deleted_folder_is_found(kit: Path) -> None:
    for path in sorted((kit / "local").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (kit / "local").rmdir()
    assert "local/almoner_policy.yaml: was deleted" in refused(kit)


@pytest.mark.parametrize("name", SIGNED)
def test_any_renamed_file_is_found_and_named(kit: Path, name: str) -> None:
    (kit / name).rename(kit / f"{name}.sample")
    assert refused(kit).startswith(f"{kit / name}: was deleted")


def test_two_files_that_swap_names_are_found(kit: Path) -> None:
    first, second = kit / "local/privacy.json", kit / "local/resources.json"
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    assert refused(kit).startswith(f"{first}: was changed")


@pytest.mark.parametrize("name", [*SIGNED, "startup/rootCA.pem", MANIFEST, SIGNATURE])
def test_links_to_the_same_content_are_found_and_named(kit: Path, name: str) -> None:
    (kit / name).rename(kit.parent / "elsewhere")
    (kit / name).symlink_to(kit.parent / "elsewhere")
    assert refused(kit) == f"{kit / name}: not a regular file → restore the kit that was provisioned"


@pytest.mark.parametrize("folder", ["startup", "local", "local/deeper"])
def test_linked_folders_are_found_and_named(kit: Path, folder: str) -> None:
    (kit / folder).rename(kit.parent / "elsewhere")
    (kit / folder).symlink_to(kit.parent / "elsewhere")
    assert refused(kit) == f"{kit / folder}: not a regular file → restore the kit that was provisioned"


def test_links_that_lead_nowhere_and_pipes_are_found(kit: Path) -> None:
    (kit / "local" / "link").symlink_to("nowhere")
    assert "local/link: not a regular file" in refused(kit)
    (kit / "local" / "link").unlink()
    os.mkfifo(kit / "local" / "pipe")
    assert "local/pipe: not a regular file" in refused(kit)


@pytest.mark.parametrize("name", ["startup/client.key", "startup/another.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o660, 0o644, 0o777])
@pytest.mark.threat("T-153")
def test_private_keys_that_others_can_read_are_named(kit: Path, name: str, mode: int) -> None:
    (kit / name).chmod(mode)
    assert refused(kit) == f"{kit / name}: readable by other users → chmod 600 {Path(name).name}"
    (kit / name).chmod(0o400)
    verify_kit(kit)


@pytest.mark.threat("T-07", "T-151")
def test_a_kit_signed_anew_with_another_key_is_refused(kit: Path, other_key: rsa.RSAPrivateKey) -> None:
    (kit / "local/resources.json").write_bytes(b'{"class_allow_list": ["*"]}')
    sign_kit(kit, "cleveland", other_key)
    # by the hashes alone the attack succeeds: the manifest fits the files
    assert canonical_json(list_files(kit)) in (kit / MANIFEST).read_bytes()
    assert refused(kit) == f"{kit / MANIFEST}: signature does not verify → restore the kit"


def test_the_root_must_be_the_signers_own(kit: Path, other_pem: bytes) -> None:
    (kit / "startup/rootCA.pem").write_bytes(other_pem)
    assert refused(kit) == f"{kit / MANIFEST}: signature does not verify → restore the kit"


def test_a_kit_replaced_whole_is_not_detected_as_the_module_says(
    kit: Path, other_key: rsa.RSAPrivateKey, other_pem: bytes
) -> None:
    (kit / "startup/rootCA.pem").write_bytes(other_pem)
    sign_kit(kit, "cleveland", other_key)
    verify_kit(kit)  # the root's fingerprint, compared by hand, is what tells
    assert "Whoever replaces the whole kit, root included" in (manifest_module.__doc__ or "")


def test_manifests_of_one_kit_do_not_fit_another(
    kit: Path, root_key: rsa.RSAPrivateKey, root_pem: bytes, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for folder in ("startup", "local"):
        (other / folder).mkdir(parents=True)
    (other / "startup/rootCA.pem").write_bytes(root_pem)
    sign_kit(other, "hungary", root_key)
    for name in (MANIFEST, SIGNATURE):
        (kit / name).write_bytes((other / name).read_bytes())
    assert "was added" in refused(kit)


@pytest.mark.parametrize(
    "content", [b"", b"not a certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_root_that_is_no_certificate(kit: Path, content: bytes) -> None:
    (kit / "startup/rootCA.pem").write_bytes(content)
    assert refused(kit) == f"{kit}/startup/rootCA.pem: not a certificate → restore the kit"


def test_a_root_without_an_rsa_key(kit: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (kit / "startup/rootCA.pem").write_bytes(self_signed(key))
    assert refused(kit) == f"{kit}/startup/rootCA.pem: not an RSA certificate → restore the kit"


@pytest.mark.parametrize("name", ["startup", "local", "local/resources.json"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.threat("T-153")
def test_what_other_users_may_write_is_named(kit: Path, name: str, mode: int) -> None:
    path = kit / name
    path.chmod(path.stat().st_mode | mode)
    assert refused(kit) == f"{path}: writable by other users → chmod go-w {path.name}"
