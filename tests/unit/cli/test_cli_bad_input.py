"""What people type and hand over by mistake: one line that says what to do, exit code 2, and nothing is left behind."""

from pathlib import Path

import pytest
from cli_cases import Outcome, Shell

JOB = "jobs/heart_disease.yaml"


def refused(outcome: Outcome, said: str) -> bool:
    """Whether a command ended with one line that says this."""
    text = outcome.err.removesuffix("\n")
    return (
        outcome.code == 2 and outcome.out == "" and text.startswith("error: ") and said in text and text.isprintable()
    )


@pytest.fixture(autouse=True)
def in_the_checkout(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ":1: document: Input should be an object → give its fields"),
        (b"- a\n- b\n", ":1: document: Input should be an object → give its fields"),
        (b"name: caf\xe9\n", ": not UTF-8 text"),
        (bytes(range(256)), ": not UTF-8 text"),
        (b"# long\n" * 50_000, ": larger than 256000 bytes"),
        (b"rounds:\n\t- 1\n", ":2: not valid YAML"),
    ],
)
def test_files_that_are_no_documents(content: bytes, said: str, tmp_path: Path, almoner: Shell) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    assert refused(almoner("job", "plan", path), f"{path}{said}")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rounds", "twenty", "Input should be a valid integer"),
        ("rounds", "-3", "greater than or equal to 0"),
        ("rounds", "9" * 90, "less than or equal to 10000"),
        ("target_epsilon", ".nan", "finite number"),
        ("target_epsilon", "1e308", "less than or equal to 100"),
        ("target_delta", ".inf", "finite number"),
    ],
)
def test_numbers_out_of_range(field: str, value: str, said: str, root: Path, tmp_path: Path, almoner: Shell) -> None:
    lines = (root / JOB).read_text().splitlines()
    number = next(number for number, line in enumerate(lines) if line.strip().startswith(f"{field}:"))
    lines[number] = f"{lines[number].partition(':')[0]}: {value}"
    path = tmp_path / "job.yaml"
    path.write_text("\n".join(lines) + "\n")
    outcome = almoner("job", "plan", path)
    assert refused(outcome, said)
    assert outcome.err.startswith(f"error: {path}:{number + 1}: ")


@pytest.mark.parametrize("command", [("curve",), ("redteam", "run"), ("bench", "pipeline")])
def test_a_job_of_another_kind_says_so(command: tuple[str, ...], almoner: Shell) -> None:
    outcome = almoner(*command, "jobs/patient_alignment.yaml")
    assert refused(outcome, "kind: Input should be 'training'")


@pytest.mark.parametrize(
    "command",
    [
        ("curve", JOB),
        ("communication", JOB),
        ("personalise", JOB),
        ("bench", "pipeline", JOB),
        ("redteam", "run", JOB),
        ("redteam", "poison", JOB),
        ("run", JOB),
        ("release", "curve", "jobs/census_release.yaml"),
    ],
)
def test_results_that_cannot_be_kept_are_refused_before_the_work(
    command: tuple[str, ...], tmp_path: Path, almoner: Shell
) -> None:
    file = tmp_path / "file"
    file.touch()
    outcome = almoner(*command, "--out", file / "below", "--cache", tmp_path / "nothing-fetched")
    assert refused(outcome, f"{file / 'below'}: {file} is not a folder that can be written to → give another --out")
    assert list(tmp_path.iterdir()) == [file]


def test_a_result_that_cannot_be_kept(tmp_path: Path, almoner: Shell) -> None:
    file = tmp_path / "file"
    file.touch()
    outcome = almoner("job", "result", "3f0e", "--kit", tmp_path, "--out", file)
    assert refused(outcome, f"{file}: {file} is not a folder that can be written to → give another --out")


def test_a_consortium_that_cannot_be_made(tmp_path: Path, almoner: Shell) -> None:
    file = tmp_path / "file"
    file.touch()
    assert refused(almoner("provision", "--out", file / "trial"), f"{file / 'trial'}: cannot be made: Not a directory")


def test_outside_a_checkout(tmp_path: Path, almoner: Shell) -> None:
    said = f"{tmp_path}/provisioning/consortium.yaml: there is none → run this in a checkout, or name one by --root"
    assert refused(almoner("job", "plan", JOB, "--root", tmp_path), said)


@pytest.mark.parametrize("command", ["commit-data", "check-images", "join-units", "groups"])
def test_a_folder_that_is_no_sites(command: str, tmp_path: Path, almoner: Shell) -> None:
    assert refused(almoner("site", command, tmp_path), f"{tmp_path}/kit: not a site's kit → give the folder that holds")


def test_made_up_patients_only_for_sites_that_are_there(tmp_path: Path, almoner: Shell) -> None:
    said = "has no kits of north-hospital and south-hospital → almoner provision --declared alignment"
    assert refused(almoner("site", "synthetic-patients", tmp_path / "typo"), said)
    assert list(tmp_path.iterdir()) == []


def test_a_root_certificate_that_is_none(tmp_path: Path, almoner: Shell) -> None:
    pack, certificate = tmp_path / "pack.zip", tmp_path / "root.pem"
    pack.touch()
    certificate.write_text("hello")
    outcome = almoner("audit", "verify", pack, "--root-cert", certificate)
    assert refused(outcome, f"{certificate}: not a certificate → give the consortium's root certificate, PEM")


def test_names_that_are_not_there(tmp_path: Path, almoner: Shell) -> None:
    assert refused(almoner("threats", "list", "--adversary", "nobody"), "adversary 'nobody': not in the threat model")
    assert refused(almoner("workload", "new", "class", "--out", tmp_path / "new"), "is the name of something else")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("ledger", "show", ".", "--last", "9" * 30),
        ("ledger", "show", ".", "--last", "0"),
        ("curve", JOB, "--rounds", "10001"),
        ("curve", JOB, "--epsilon", "nan"),
        ("bench", "pipeline", JOB, "--share", "nan"),
        ("redteam", "poison", JOB, "--l2-clip-norm", "-1"),
        ("provision", "--out", "x", "--port", "80"),
    ],
)
def test_options_out_of_range(arguments: tuple[str, ...], almoner: Shell) -> None:
    outcome = almoner(*arguments)
    assert outcome.code == 2
    assert "Invalid value for '--" in outcome.err
