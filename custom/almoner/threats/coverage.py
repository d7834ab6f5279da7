"""Which cells of STRIDE per element, and of LINDDUN per personal element, a threat is in, or are ruled out."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from almoner.schema.threat_model import APPLICABLE, LINDDUN, Element, Flow, ThreatModel

Cell = tuple[str, str]
"""An element's or a flow's id, and a letter."""


def stride_cells(model: ThreatModel) -> list[Cell]:
    """Return the cells that STRIDE asks about."""
    return [(part.id, letter) for part in model.parts for letter in APPLICABLE[part.kind]]


def linddun_cells(model: ThreatModel) -> list[Cell]:
    """Return the cells that LINDDUN asks about: all letters of whatever holds what comes from persons."""
    return [(part.id, letter) for part in personal_parts(model) for letter in LINDDUN]


def personal_parts(model: ThreatModel) -> list[Element | Flow]:
    """Return the elements and flows that hold what comes from persons."""
    return [part for part in model.parts if part.personal]


def threats_by_cell(model: ThreatModel, letters: str) -> Mapping[Cell, Sequence[str]]:
    """Return the threats in each cell.

    Args:
        letters: "stride" or "linddun".
    """
    found: dict[Cell, list[str]] = defaultdict(list)
    for threat in model.threats:
        for part in threat.elements:
            for letter in getattr(threat, letters):
                found[part, letter].append(threat.id)
    return found


def ruled_out(model: ThreatModel, letters: str) -> dict[Cell, str]:
    """Return why no threat is in a cell, for the cells of which the model says so."""
    return {
        (part, letter): out.why for out in model.ruled_out for part in out.elements for letter in getattr(out, letters)
    }


def gaps(model: ThreatModel) -> list[str]:
    """Return a line for each cell that is neither covered nor ruled out, or that is both, or that is none."""
    found = []
    for letters, cells in (("stride", stride_cells(model)), ("linddun", linddun_cells(model))):
        covered, out, asked = threats_by_cell(model, letters), ruled_out(model, letters), set(cells)
        for part, letter in cells:
            where = f"{letters.upper()} {letter} of {part}"
            if (part, letter) in covered and (part, letter) in out:
                found.append(
                    f"ruled_out: {where}: {', '.join(covered[part, letter])} is in it → take it out of ruled_out"
                )
            if (part, letter) not in covered and (part, letter) not in out:
                found.append(f"threats: {where}: no threat is in it → add one, or say in ruled_out why none is")
        found += [
            f"ruled_out: {letters.upper()} {letter} of {part}: nobody asks about it → take it out"
            for part, letter in out
            if (part, letter) not in asked
        ]
    return found
