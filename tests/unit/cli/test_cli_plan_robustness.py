"""`almoner job plan` says what a job bears that bad or missing sites do, and promises nothing for what it refuses."""

from pathlib import Path

from cli_cases import Shell

from almoner.protection.groups import GroupLayout

SECURE = Path("jobs") / "bank_credit_secure.yaml"


def test_groups(root: Path, almoner: Shell) -> None:
    outcome = almoner("job", "plan", root / SECURE, "--root", root)
    assert outcome.code == 0
    assert tuple(outcome.out.splitlines()[-4:]) == GroupLayout(10, 3, 1, 1, "median").describe(8)


def test_a_robust_rule(root: Path, almoner: Shell) -> None:
    lines = almoner("job", "plan", root / "jobs" / "bank_credit.yaml", "--root", root).out.splitlines()[-3:]
    assert [line.partition(":")[0] for line in lines] == ["attackers", "drops", "price"]
    assert "of 10 sites that may send anything, and as many of 8 contributors" in lines[0]


def test_groups_that_cannot_be(root: Path, tmp_path: Path, almoner: Shell) -> None:
    text = (root / SECURE).read_text()
    assert text.count("groups: 3") == 1
    path = tmp_path / "job.yaml"
    path.write_text(text.replace("groups: 3", "groups: 4"))
    outcome = almoner("job", "plan", path, "--root", root)
    assert outcome.code == 1
    assert "aggregation.groups 4 groups of 10 sites have 2 each: all c=1 colluding sites may sit in one" in outcome.out
    assert "attackers:" not in outcome.out
