"""A small checkout with a threat model that it keeps."""

from pathlib import Path
from typing import Any

import yaml

CODE = 'LIMIT = 5\n\n\nclass Door:\n    """Mitigates: T-01."""\n\n    def verify(self, key: str) -> None: ...\n'
TEST = (
    "import pytest\n\n\n"
    '@pytest.mark.threat("T-01")\n@pytest.mark.parametrize("key", ["a", "b"])\ndef test_stranger(key): ...\n'
)
README = "# Threats\n\n<!-- almoner: summary -->\nold\n<!-- end -->\n\nProse.\n"


def small_model() -> dict[str, Any]:
    """The document: one process, one personal store, a flow from one to the other, one threat."""
    threat = {
        "id": "T-01",
        "title": "A stranger comes in",
        "stride": ["S", "E"],
        "linddun": ["D"],
        "elements": ["house", "box"],
        "assets": ["silver"],
        "adversaries": ["thief"],
        "likelihood": "high",
        "impact": "low",
        "control": "the door asks for a key",
        "controls": [
            {
                "code": "almoner.house:Door.verify",
                "without": "lambda *_: None",
                "test": "tests/test_house.py::test_stranger[a]",
            }
        ],
        "status": "tested",
        "residual": "a stolen key opens it",
    }
    return {
        "schema_version": 1,
        "assets": [{"id": "silver", "title": "Silver", "why": "it is old"}],
        "boundaries": [{"id": "garden", "title": "Garden", "held_by": "the owner"}],
        "elements": [
            {"id": "house", "kind": "process", "boundary": "garden", "title": "House"},
            {"id": "box", "kind": "store", "boundary": "garden", "title": "Box", "personal": True},
        ],
        "flows": [{"id": "way", "source": "house", "target": "box", "carries": "silver"}],
        "adversaries": [{"id": "thief", "title": "Thief", "can": "run"}],
        "threats": [threat],
        "ruled_out": [
            {"elements": ["house"], "stride": ["T", "R", "I", "D"], "why": "it is of stone"},
            {
                "elements": ["box"],
                "stride": ["T", "R", "I", "D"],
                "linddun": ["L", "I", "Nr", "Dd", "U", "Nc"],
                "why": "it is empty",
            },
            {"elements": ["way"], "stride": ["T", "I", "D"], "why": "it is short"},
        ],
        "frameworks": [
            {"id": "police", "title": "Police", "items": [{"id": "P1", "title": "Theft", "threats": ["T-01"]}]}
        ],
        "questions": [{"question": "Is it shut?", "command": "almoner door", "answer": "look"}],
    }


def checkout(folder: Path, document: dict[str, Any]) -> Path:
    """Write a checkout that fits `small_model`, with another document."""
    files = {
        "Makefile": "SHELL := sh\n.PHONY: paint\n\npaint: brush\n\ttrue\n\nbrush:\n\ttrue\n",
        "custom/almoner/house.py": CODE,
        "tests/test_house.py": TEST,
        "threat_model/README.md": README,
        "threat_model/threats.yaml": yaml.safe_dump(document, allow_unicode=True),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder
