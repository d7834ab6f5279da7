"""Certificates and outcomes that a liar made up end in one line that says what is wrong, not in a traceback."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.audit.audit_cases import key, make_run, parts_of, sealed
from tests.unit.provision.kit_cases import certify, self_signed

from almoner.audit.authority import Root
from almoner.audit.inputs import read_outcome
from almoner.audit.pack_verify import verify_pack
from almoner.audit.submission import submission_of
from almoner.errors import EvidenceError

RSA_OID, SIGNED_OID = "06092a864886f70d010101", "06092a864886f70d01010b"
STRANGE = {
    "a key of an unknown kind": (RSA_OID, "06092a864886f70d01017f"),
    "a key that is cut off": ("0282010100", "0482010100"),
    "an even exponent": ("0203010001", "0203010000"),
    "an unknown signature": (SIGNED_OID, "06092a864886f70d01017f"),
}


def strange(kind: str, issuer: int = 0) -> bytes:
    """Return a certificate with some bytes changed; the key of `issuer` signed what it was before."""
    old, new = map(bytes.fromhex, STRANGE[kind])
    made = certify(key(2), "lead@site-1.example", key(issuer), "consortium", "site-1", "lead")
    der = made.public_bytes(serialization.Encoding.DER)
    assert old in der
    changed = base64.encodebytes(der.replace(old, new))
    return b"-----BEGIN CERTIFICATE-----\n" + changed + b"-----END CERTIFICATE-----\n"


@pytest.mark.threat("T-144")
@pytest.mark.parametrize("issuer", [0, 4])
@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_certificate_is_not_of_the_root(kind: str, issuer: int) -> None:
    root = Root(self_signed(key(0), "consortium"))
    with pytest.raises(EvidenceError, match="x: not issued by the root certificate"):
        root.party(strange(kind, issuer), None, "x")


def test_a_key_of_another_kind_that_the_root_signed() -> None:
    """What stands where the key should be is read after the issuer's signature."""
    private = ec.generate_private_key(ec.SECP256R1())
    made = certify(private, "lead@site-1.example", key(0), "consortium")  # type: ignore[arg-type]
    with pytest.raises(EvidenceError, match="x: not an RSA certificate"):
        Root(self_signed(key(0), "consortium")).party(made.public_bytes(serialization.Encoding.PEM), None, "x")


def test_a_root_certificate_of_a_strange_key() -> None:
    with pytest.raises(EvidenceError, match="the root certificate: not an RSA certificate"):
        Root(strange("a key of an unknown kind"))


def test_a_submission_that_brings_a_strange_certificate() -> None:
    name = "job/app/config/almoner_job.json"
    files = {name: b"{}", "job/app/config/.__nvfl_submitter.crt": strange("a key of an unknown kind")}
    with pytest.raises(EvidenceError, match="the submitter's certificate: not issued by the root certificate"):
        submission_of(files, Root(self_signed(key(0), "consortium")), "job/submission.zip")


ROUNDS: dict[str, Callable[[dict[str, Any]], object]] = {
    f"round {number!r}": lambda said, number=number: said["rounds"][0].update(round=number)  # type: ignore[misc]
    for number in ("1", 1.0, True, None)
}
SHAPES = ROUNDS | {
    "contributors in a text": lambda said: said["rounds"][0].update(contributors="site-1"),
    "a digest that is a number": lambda said: said.update(model_sha256=0),
    "a release that is a number": lambda said: said.update(releases={"site-1": 1}),
    "a signature that is a number": lambda said: said.update(vouchers={"model": {"site-1": 1}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outcome_of_another_shape(shape: str) -> None:
    outcome = json.loads(json.dumps(make_run().server.outcome))
    assert read_outcome(json.dumps(outcome).encode(), "x") == outcome
    SHAPES[shape](outcome)
    with pytest.raises(EvidenceError, match="x: not what a job leaves"):
        read_outcome(json.dumps(outcome).encode(), "x")


def test_a_pack_with_a_round_that_is_a_text(tmp_path: Path) -> None:
    run = make_run()
    outcome = json.loads(json.dumps(run.server.outcome))
    outcome["rounds"][0]["round"] = "1"
    run = replace(run, server=replace(run.server, outcome=outcome))
    with pytest.raises(EvidenceError, match="not what a job leaves"):
        verify_pack(sealed(run, parts_of(run, tmp_path)), run.root_pem)
