"""Renders the threat model: tables between marks in README.md, whose prose stays, and all threats in threats.md.

A table stands between `<!-- almoner: NAME -->` and `<!-- end -->`; what was between them is replaced.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from almoner.errors import DocumentError
from almoner.schema.threat_model import APPLICABLE, LINDDUN, Control, Element, Flow, Framework, Threat, ThreatModel
from almoner.threats.coverage import Cell, personal_parts, ruled_out, threats_by_cell
from almoner.threats.diagram import data_flow_diagram

README, LIST = "README.md", "threats.md"
_SECTION = re.compile(r"(<!-- almoner: ([a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_LETTERS = {
    "S": "Spoofing",
    "T": "Tampering",
    "R": "Repudiation",
    "I": "Information disclosure",
    "D": "Denial of service",
    "E": "Elevation of privilege",
}
_PRIVACY_LETTERS = {
    "L": "Linking",
    "I": "Identifying",
    "Nr": "Non-repudiation",
    "D": "Detecting",
    "Dd": "Data disclosure",
    "U": "Unawareness",
    "Nc": "Non-compliance",
}


def rendered(root: Path, model: ThreatModel) -> dict[str, str]:
    """Return the pages of `threat_model/`, by name, as they should be.

    Raises:
        DocumentError: README.md is missing, or has a mark for a section that does not exist.
    """
    path = root / "threat_model" / README
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        raise DocumentError(f"{path}: cannot be read → restore it; its prose is written by hand") from None

    def section(match: re.Match[str]) -> str:
        if match[2] not in _SECTIONS:
            raise DocumentError(f"{path}: there is no section '{match[2]}' → one of {', '.join(_SECTIONS)}")
        return f"{match[1]}{_SECTIONS[match[2]](model)}\n{match[3]}"

    return {README: _SECTION.sub(section, text), LIST: _list(model)}


def _summary(model: ThreatModel) -> str:
    """Return how many threats there are, and how many controls stand against them."""
    status = Counter(threat.status for threat in model.threats)
    controls = sum(len(threat.controls) for threat in model.threats)
    return (
        f"{len(model.threats)} threats: {status['tested']} with {controls} controls, each of which can be switched off "
        f"to see its test fail, and {status['accepted']} accepted. [All of them]({LIST})."
    )


def _adversaries(model: ThreatModel) -> str:
    """Return the adversaries, with how many threats are theirs."""
    counts = Counter(name for threat in model.threats for name in threat.adversaries)
    rows = [(adversary.title, adversary.can, str(counts[adversary.id])) for adversary in model.adversaries]
    return _table(("adversary", "can", "threats"), rows)


def _elements(model: ThreatModel) -> str:
    """Return assets, boundaries and flows."""
    held = _table(("boundary", "held by"), [(boundary.title, boundary.held_by) for boundary in model.boundaries])
    assets = _table(("asset", "why it is protected"), [(asset.title, asset.why) for asset in model.assets])
    flows = _table(("flow", "from, to", "carries"), [(f.id, f"{f.source}, {f.target}", f.carries) for f in model.flows])
    return f"{assets}\n\n{held}\n\n{flows}"


def _stride(model: ThreatModel) -> str:
    """Return STRIDE per element."""
    found, out, notes = threats_by_cell(model, "stride"), ruled_out(model, "stride"), _Notes()
    rows = [
        (
            f"{_label(part)} ({part.kind})",
            *(_cell((part.id, letter), letter in APPLICABLE[part.kind], found, out, notes) for letter in _LETTERS),
        )
        for part in model.parts
    ]
    return f"{_table(('element', *_LETTERS.values()), rows)}\n\n{notes.text()}"


def _linddun(model: ThreatModel) -> str:
    """Return LINDDUN per element that holds what comes from persons."""
    found, out, notes = threats_by_cell(model, "linddun"), ruled_out(model, "linddun"), _Notes()
    rows = [
        (_label(part), *(_cell((part.id, letter), True, found, out, notes) for letter in LINDDUN))
        for part in personal_parts(model)
    ]
    return f"{_table(('element', *_PRIVACY_LETTERS.values()), rows)}\n\n{notes.text()}"


def _label(part: Element | Flow) -> str:
    """Return what an element or a flow is called in a table."""
    return part.id if isinstance(part, Flow) else part.title


class _Notes:
    """Reasons, each with the number that cells refer to it by."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, why: str) -> int:
        """Return the number of a reason."""
        return self._numbers.setdefault(why, len(self._numbers) + 1)

    def text(self) -> str:
        """Return the list of reasons."""
        return "\n".join(f"{number}. {why}" for why, number in self._numbers.items())


def _cell(cell: Cell, asked: bool, found: Mapping[Cell, Sequence[str]], out: Mapping[Cell, str], notes: _Notes) -> str:
    """Return a cell of a coverage table: threats, the number of a reason, or a dash where nobody asks."""
    if not asked:
        return "–"
    if cell in found:
        return " ".join(f"[{name.removeprefix('T-')}]({LIST}#{name.lower()})" for name in found[cell])
    return f"({notes.number(out[cell])})" if cell in out else "**open**"


def _frameworks(model: ThreatModel) -> str:
    """Return the cross-walks."""
    return "\n\n".join(_framework(framework) for framework in model.frameworks)


def _framework(framework: Framework) -> str:
    """Return the cross-walk to one catalogue."""
    rows = [(item.id, item.title, _links(item.threats) or f"outside: {item.outside}") for item in framework.items]
    return f"### {framework.title}\n\n{_table(('id', 'title', 'threats'), rows)}"


def _questions(model: ThreatModel) -> str:
    """Return the reviewer's walk-through."""
    rows = [(str(at), q.question, f"`{q.command}`", q.answer) for at, q in enumerate(model.questions, start=1)]
    return _table(("", "question", "command", "what to look at"), rows)


def _list(model: ThreatModel) -> str:
    """Return the page of all threats."""
    head = (
        "# All threats\n\nMade from [`threats.yaml`](threats.yaml) by `almoner threats render`; edit that. "
        "`python -m tests.switches T-01` switches the controls of a threat off, one by one, and runs their tests.\n"
    )
    return "\n".join([head, *(_threat(model, threat) for threat in model.threats)])


def _threat(model: ThreatModel, threat: Threat) -> str:
    """Return one threat in full."""
    titles = {entry.id: entry.title for entry in model.adversaries} | {entry.id: entry.title for entry in model.assets}
    letters = ", ".join(_LETTERS[letter] for letter in threat.stride)
    privacy = ", ".join(_PRIVACY_LETTERS[letter] for letter in threat.linddun)
    lines = [
        f'<a id="{threat.id.lower()}"></a>\n',
        f"## {threat.id} {threat.title}\n",
        f"- **STRIDE** {letters}" + (f"; **LINDDUN** {privacy}" if privacy else ""),
        f"- **Where** {', '.join(threat.elements)}; **at risk** {_titled(threat.assets, titles)}",
        f"- **Who** {_titled(threat.adversaries, titles)}; "
        f"**likelihood** {threat.likelihood}, **impact** {threat.impact}",
        f"- **Control** {threat.control}" + ("" if threat.status == "tested" else " (accepted)"),
        *map(_control, threat.controls),
        f"- **Left** {threat.residual}",
    ]
    return "\n".join(lines) + "\n"


def _control(control: Control) -> str:
    """Return a control's references."""
    return f"  - `{control.code}`, tried by `{control.test}`"


def _titled(names: Iterable[str], titles: Mapping[str, str]) -> str:
    """Return names as titles within a sentence."""
    return ", ".join(titles[name].lower() for name in names)


def _links(threats: Iterable[str]) -> str:
    """Return threats as links."""
    return ", ".join(f"[{name}]({LIST}#{name.lower()})" for name in threats)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


_SECTIONS: dict[str, Callable[[ThreatModel], str]] = {
    "summary": _summary,
    "diagram": data_flow_diagram,
    "elements": _elements,
    "adversaries": _adversaries,
    "stride": _stride,
    "linddun": _linddun,
    "frameworks": _frameworks,
    "questions": _questions,
}
