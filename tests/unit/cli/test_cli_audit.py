"""Packs made from folders as server and sites leave them, by the commands, with real ledgers."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from cli_cases import Shell
from tests.unit.audit.audit_cases import (
    JOB,
    RELEASED,
    UNIT,
    decision,
    make_run,
    planned,
)

from almoner.audit.archive import read_archive, write_archive
from almoner.audit.log_entries import log_entry
from almoner.audit.log_facts import LogHead
from almoner.audit.log_file import TransparencyLog
from almoner.audit.log_offer import OFFER, LogOffer
from almoner.audit.pack_verify import verify_pack
from almoner.audit.strict_json import read_model
from almoner.flare.evidence.live_log import LOG_FOLDER, LiveLog
from almoner.privacy.ledger import Ledger, Reservation
from almoner.privacy.plan import PlannedStep
from almoner.schema.base import digest
from almoner.schema.policy import Account

OTHER = JOB.replace("1", "2")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Write the folders of a server and three sites after a job of two rounds."""
    top = tmp_path_factory.mktemp("world")

    def ledger(site, number, spec, envelope, num_rounds):
        folder = top / "sites" / site / "ledger"
        folder.mkdir(parents=True)
        account = Account.model_validate(
            {"population": f"{site}-cardiology", "epsilon_cap": 3.0, "delta": 1e-4, **UNIT}
        )
        with Ledger.create(folder / "ledger.sqlite", site) as book:
            order = book.open_account(account).filter.order
            steps = tuple(PlannedStep(step.step, step.events) for step in planned(spec, order))
            book.reserve(
                Reservation(JOB, f"{number:032x}", envelope, "b" * 64, account.population, *UNIT.values(), steps)
            )
            book.record("decision", decision(site, number, spec, envelope, "admitted", JOB))
            book.start(JOB, "b" * 64)
            for step in steps:
                book.commit(JOB, step.key)
                last = f"RELEASE:{num_rounds + 1}:".encode() + bytes.fromhex(RELEASED)
                book.release(JOB, step.key, digest(last if step.key == "accuracy" else step.key.encode()))
            book.settle(JOB, "the job ended")
            book.record("decision", decision(site, number, spec, "c" * 64, "refused", OTHER))
            return book.entries()

    run = make_run(num_sites=3, num_rounds=2, ledger=ledger)
    (top / "root.pem").write_bytes(run.root_pem)
    write_kit(top / "server" / "kit", run.server.kit, "server", run.root_pem)
    for site in run.sites:
        kit = top / "sites" / site.site / "kit"
        write_kit(kit, site.kit, "client", run.root_pem)
        (kit / "local" / "almoner_policy.yaml").write_bytes(site.policy)
        (kit / "local" / "almoner_floor.yaml").write_bytes(site.floor)
        server = {"servers": [{"identity": "server.example"}]}
        (kit / "startup" / "fed_client.json").write_text(json.dumps(server))
    write_job(top / "server", run, JOB)
    (top / "server" / "heads.json").write_text(json.dumps({"heads": run.server.heads}))
    (top / "redteam.json").write_bytes(run.server.redteam)
    return top


def write_kit(kit, inputs, kind, root_pem):
    for path, content in {
        "startup/almoner_manifest.json": inputs.manifest,
        "startup/almoner_manifest.sig": inputs.manifest_signature,
        f"startup/{kind}.crt": inputs.certificate,
        f"startup/{kind}.key": inputs.private_key,
        "startup/rootCA.pem": root_pem,
        "local/almoner_roster.json": inputs.roster,
    }.items():
        (kit / path).parent.mkdir(parents=True, exist_ok=True)
        (kit / path).write_bytes(content)


def write_job(server, run, job):
    folder = server / "jobs" / job
    folder.mkdir(parents=True)
    (folder / "data").write_bytes(run.server.submission)
    (folder / "meta").write_text(json.dumps(run.server.meta))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("almoner_result.json", json.dumps({**run.server.outcome, "model": [0.5, 1.5]}))
    (folder / "workspace").write_bytes(buffer.getvalue())


def test_one_command_packs_a_folder_with_all_on_one_machine(world, almoner: Shell, tmp_path: Path) -> None:
    out, root = tmp_path / "pack.zip", world / "root.pem"
    packed = almoner("audit", "pack", JOB, world, "--out", out, "--redteam", world / "redteam.json")
    assert packed.code == 0, packed.err
    assert out.stat().st_mode & 0o777 == 0o600
    verified = almoner("audit", "verify", out, "--root-cert", root, "--json")
    found = json.loads(verified.out)
    assert found["ok"] is True
    assert [account["site"] for account in found["accounts"]] == ["site-1", "site-2", "site-3"]
    assert "△ not shown: known vulnerabilities" in almoner("audit", "verify", out, "--root-cert", root).out
    assert b"0.5, 1.5" not in out.read_bytes()  # the model is not in it
    for path in (world / "server" / "kit", world / "sites" / "site-1" / "kit"):
        for key in path.glob("startup/*.key"):
            assert key.read_bytes()[40:200] not in out.read_bytes()
    assert almoner("audit", "report", out, "--root-cert", root).code == 0
    assert (tmp_path / "pack.html").read_text().startswith("<!DOCTYPE html>")
    again = tmp_path / "again.zip"
    assert almoner("audit", "pack", JOB, world, "--out", again).code == 0
    heads = [json.loads(read_archive(path.read_bytes())["log/head.json"]) for path in (out, again)]
    assert heads[0]["signed"] == heads[1]["signed"]  # nothing new: the head that the sites cosigned stays


def test_sites_on_their_own_machines_send_packs_and_cosignatures(world, almoner: Shell, tmp_path: Path) -> None:
    packs, signed = [], []
    for site in ("site-1", "site-2", "site-3"):
        packs += ["--site-pack", tmp_path / f"{site}.zip"]
        assert almoner("audit", "pack", JOB, world / "sites" / site, "--out", packs[-1]).code == 0
    offer = tmp_path / "offer.json"
    assert almoner("audit", "offer", JOB, world / "server", "--out", offer, *packs).code == 0
    certificate = world / "server" / "kit" / "startup" / "server.crt"
    for site in ("site-1", "site-2", "site-3"):
        signed += ["--cosignature", tmp_path / f"{site}.json"]
        asked = ("audit", "cosign", offer, world / "sites" / site, "--server-cert", certificate, "--out", signed[-1])
        assert almoner(*asked).code == 0
    alone = almoner("audit", "pack", JOB, world / "server", "--out", tmp_path / "alone.zip", *packs)
    assert "log/head.json: log: the head is not cosigned by site-1" in alone.err
    assert not (tmp_path / "alone.zip").exists()
    whole = almoner("audit", "pack", JOB, world / "server", "--out", tmp_path / "whole.zip", *packs, *signed)
    assert whole.code == 0, whole.err
    verify_pack((tmp_path / "whole.zip").read_bytes(), (world / "root.pem").read_bytes())
    # what sites cosigned when the job ended is asked for no second time, as long as the log is what it was then
    cosigned = [json.loads(Path(path).read_bytes()) for path in signed if str(path).endswith(".json")]
    head = read_model(LogOffer, offer.read_bytes(), "offer", OFFER).signed
    LiveLog(world / "server", JOB).keep(
        LogHead(signed=head, cosignatures={each["site"]: each["signature"] for each in cosigned})
    )
    kept = almoner("audit", "pack", JOB, world / "server", "--out", tmp_path / "alone.zip", *packs)
    assert kept.code == 0, kept.err
    TransparencyLog(world / "server" / LOG_FOLDER).append([log_entry("update", OTHER, "", {}).to_bytes()])
    again = almoner("audit", "pack", JOB, world / "server", "--out", tmp_path / "again.zip", *packs)
    assert "log/head.json: log: the head is not cosigned by site-1" in again.err


def test_a_site_takes_no_other_certificate_for_the_servers(world, almoner: Shell, tmp_path: Path) -> None:
    offer = tmp_path / "offer.json"
    assert almoner("audit", "offer", JOB, world / "server", "--out", offer).code == 0
    false = world / "sites" / "site-2" / "kit" / "startup" / "client.crt"
    folder = world / "sites" / "site-1"
    refused = almoner("audit", "cosign", offer, folder, "--server-cert", false, "--out", tmp_path / "x.json")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "a certificate of site-2, not of server.example" in refused.err


def test_errors_are_one_line_that_names_the_part(world, almoner: Shell, tmp_path: Path) -> None:
    out, root = tmp_path / "pack.zip", world / "root.pem"
    assert almoner("audit", "pack", JOB, world, "--out", out).code == 0
    parts = read_archive(out.read_bytes())
    out.write_bytes(write_archive({**parts, "job/meta.json": b"{}"}))
    cases = {
        "job/meta.json: changed": ("verify", out, "--root-cert", root),
        "no such file": ("verify", tmp_path / "none.zip", "--root-cert", root),
        "has no job": ("pack", OTHER, world, "--out", tmp_path / "x.zip"),
        "has no job ../../etc": ("pack", "../../etc", world, "--out", tmp_path / "x.zip"),
        "no decision about job": (
            "pack",
            JOB.replace("1", "3"),
            world / "sites" / "site-1",
            "--out",
            tmp_path / "x.zip",
        ),
        "not the folder of a site": ("pack", JOB, tmp_path, "--out", tmp_path / "x.zip"),
        "not an offer": (
            "cosign",
            root,
            world / "sites" / "site-1",
            "--server-cert",
            root,
            "--out",
            tmp_path / "x.json",
        ),
        "archive's beginning": ("report", root, "--root-cert", root),
    }
    for expected, arguments in cases.items():
        outcome = almoner("audit", *arguments)
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1
        assert expected in outcome.err.lower() or expected in outcome.err, (expected, outcome.err)
    assert not (tmp_path / "x.zip").exists()


def test_a_sites_pack_of_another_job_is_not_taken(world, almoner: Shell, tmp_path: Path) -> None:
    other = tmp_path / "other.zip"
    assert almoner("audit", "pack", OTHER, world / "sites" / "site-1", "--out", other).code == 0
    asked = ("audit", "pack", JOB, world / "server", "--out", tmp_path / "x.zip", "--site-pack", other)
    assert "not a site's pack of job" in almoner(*asked).err


def test_a_result_that_the_log_has_otherwise_is_not_packed_over(world, almoner: Shell, tmp_path: Path) -> None:
    """The log keeps what it has: a second result of a job would stand in it for ever."""
    here = tmp_path / "world"
    shutil.copytree(world, here)
    LiveLog(here / "server", JOB).add([("result", "", {"outcome": "0" * 64})])
    before = (here / "server" / LOG_FOLDER / "entries.log").read_bytes()
    failed = almoner("audit", "pack", JOB, here, "--out", tmp_path / "x.zip")
    assert failed.code == 2
    assert f"has another fact of kind result of job {JOB} → pack with the release that ran the job" in failed.err
    assert (here / "server" / LOG_FOLDER / "entries.log").read_bytes() == before
