"""The threat model as a document: what is threatened, by whom, what stands against it, and what is left.

A control is a reference into the shipped code, with what stands there when it is switched off and the test that
then fails; so a claim that the code does not keep can be found by a machine.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from almoner.schema.base import Document, Model, Name

Stride = Literal["S", "T", "R", "I", "D", "E"]
Linddun = Literal["L", "I", "Nr", "D", "Dd", "U", "Nc"]
Level = Literal["low", "medium", "high"]
ThreatId = Annotated[str, StringConstraints(pattern=r"^T-[0-9]{2,3}$")]
Prose = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,1200}$")]
"""Text of one paragraph."""
CodeReference = Annotated[str, StringConstraints(pattern=r"^almoner(\.[a-z_0-9]+)+:[A-Za-z_][A-Za-z_0-9.]*$")]
"""`module:name` or `module:Class.method`."""
TestReference = Annotated[str, StringConstraints(pattern=r"^tests/[a-z_0-9/]+\.py::[A-Za-z_][A-Za-z_0-9:]*(\[.+\])?$")]
"""A test as pytest names it."""

APPLICABLE: dict[str, tuple[Stride, ...]] = {
    "external": ("S", "R"),
    "process": ("S", "T", "R", "I", "D", "E"),
    "store": ("T", "R", "I", "D"),
    "flow": ("T", "I", "D"),
}
"""Which letters of STRIDE an element of each kind is asked about (Shostack 2014, STRIDE per element)."""
LINDDUN: tuple[Linddun, ...] = ("L", "I", "Nr", "D", "Dd", "U", "Nc")


class Asset(Model):
    """Something worth protecting."""

    id: Name
    title: Prose
    why: Prose


class Boundary(Model):
    """A line within which one party is in charge."""

    id: Name
    title: Prose
    held_by: Prose


class Element(Model):
    """A party, process or store of the data-flow diagram; `personal`: it holds what comes from persons."""

    id: Name
    kind: Literal["external", "process", "store"]
    boundary: Name
    title: Prose
    personal: bool = False


class Flow(Model):
    """What goes from one element to another."""

    id: Name
    source: Name
    target: Name
    carries: Prose
    personal: bool = False

    @property
    def kind(self) -> Literal["flow"]:
        """What it is asked about is that of a flow."""
        return "flow"


class Adversary(Model):
    """Somebody with an aim and means."""

    id: Name
    title: Prose
    can: Prose


class Control(Model):
    """A piece of shipped code that stops a threat, and how one sees that it does.

    Args:
        code: the function, method or constant.
        without: a Python expression, in the names of that module, of what stands in its place when it is switched off.
        test: a test that carries out the attack; it passes with the control and fails without it.
    """

    code: CodeReference
    without: Annotated[str, StringConstraints(min_length=1, max_length=400)]
    test: TestReference


class Threat(Model):
    """What could go wrong, what is done about it, and what is left."""

    id: ThreatId
    title: Prose
    stride: Annotated[tuple[Stride, ...], Field(min_length=1)]
    linddun: tuple[Linddun, ...] = ()
    elements: Annotated[tuple[Name, ...], Field(min_length=1)]
    assets: Annotated[tuple[Name, ...], Field(min_length=1)]
    adversaries: Annotated[tuple[Name, ...], Field(min_length=1)]
    likelihood: Level
    impact: Level
    control: Prose
    controls: tuple[Control, ...] = ()
    status: Literal["tested", "accepted"]
    residual: Prose

    @model_validator(mode="after")
    def _tested_by_controls(self) -> Self:
        """A tested threat has controls; an accepted one has none."""
        if (self.status == "tested") != bool(self.controls):
            raise ValueError("a tested threat names its controls, an accepted one none → list them, or change status")
        return self


class RuledOut(Model):
    """Cells of the coverage tables that no threat is in, and why."""

    elements: Annotated[tuple[Name, ...], Field(min_length=1)]
    stride: tuple[Stride, ...] = ()
    linddun: tuple[Linddun, ...] = ()
    why: Prose


class FrameworkItem(Model):
    """An entry of another catalogue: the threats that answer it, or why none does."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:_-]{0,30}$")]
    title: Prose
    threats: tuple[ThreatId, ...] = ()
    outside: Prose | None = None

    @model_validator(mode="after")
    def _answered(self) -> Self:
        """Either threats or a reason."""
        if bool(self.threats) == (self.outside is not None):
            raise ValueError("an entry names threats, or says why it is outside, and not both")
        return self


class Framework(Model):
    """Another catalogue of threats."""

    id: Name
    title: Prose
    items: Annotated[tuple[FrameworkItem, ...], Field(min_length=1)]


class Question(Model):
    """What a reviewer asks, the command that answers it, and what to look at."""

    question: Prose
    command: Prose
    answer: Prose


class ThreatModel(Document):
    """Everything in `threat_model/threats.yaml`; all names in it resolve."""

    assets: tuple[Asset, ...]
    boundaries: tuple[Boundary, ...]
    elements: tuple[Element, ...]
    flows: tuple[Flow, ...]
    adversaries: tuple[Adversary, ...]
    threats: tuple[Threat, ...]
    ruled_out: tuple[RuledOut, ...] = ()
    frameworks: tuple[Framework, ...] = ()
    questions: tuple[Question, ...] = ()

    @property
    def parts(self) -> tuple[Element | Flow, ...]:
        """Everything in the diagram."""
        return (*self.elements, *self.flows)

    @model_validator(mode="after")
    def _names_resolve(self) -> Self:
        """Every name is given once, and whatever is referred to exists."""
        parts = _unique("elements and flows", (part.id for part in self.parts))
        boundaries = _unique("boundaries", (boundary.id for boundary in self.boundaries))
        ids = _unique("threats", (threat.id for threat in self.threats))
        elements = {element.id for element in self.elements}
        known = {
            "elements": parts,
            "assets": _unique("assets", (asset.id for asset in self.assets)),
            "adversaries": _unique("adversaries", (adversary.id for adversary in self.adversaries)),
        }
        for threat in self.threats:
            for field, allowed in known.items():
                _resolve(f"{threat.id}.{field}", getattr(threat, field), allowed)
        for place, names, among in self._references():
            _resolve(place, names, {"boundary": boundaries, "element": elements, "part": parts, "threat": ids}[among])
        return self

    def _references(self) -> Iterator[tuple[str, tuple[str, ...], str]]:
        """Yield where names stand, the names, and what they name, except those of threats."""
        for element in self.elements:
            yield f"elements.{element.id}", (element.boundary,), "boundary"
        for flow in self.flows:
            yield f"flows.{flow.id}", (flow.source, flow.target), "element"
        for out in self.ruled_out:
            yield "ruled_out", out.elements, "part"
        for framework in self.frameworks:
            for item in framework.items:
                yield f"frameworks.{framework.id}.{item.id}", item.threats, "threat"


def _unique(what: str, names: Iterable[str]) -> set[str]:
    """Return names as a set; raise if one is given twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what}: '{name}' is given twice")
        seen.add(name)
    return seen


def _resolve(place: str, names: Iterable[str], known: set[str]) -> None:
    """Raise if a name is not known."""
    for name in names:
        if name not in known:
            raise ValueError(f"{place}: there is no '{name}'")
