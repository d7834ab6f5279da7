"""Every tested threat has a test that carries it out, and every mark names a listed threat."""

import ast
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def marked_threats() -> set[str]:
    """Return the ids in `@pytest.mark.threat("T-nn")` decorators below tests/."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.threat":
                found |= {ast.literal_eval(argument) for argument in node.args}
    return found


def test_threats_and_marks_agree() -> None:
    threats = yaml.safe_load((ROOT / "threat_model" / "threats.yaml").read_text())["threats"]
    ids = [threat["id"] for threat in threats]
    assert len(ids) == len(set(ids))
    assert {threat["status"] for threat in threats} <= {"tested", "accepted"}
    assert {threat["id"] for threat in threats if threat["status"] == "tested"} == marked_threats()
