"""The matrix as text, CSV and JSON."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from almoner.redteam.poisoning.catalogue import ATTACKS, BACKDOORS, NO_ATTACK
from almoner.redteam.poisoning.duel import Duel, Score
from almoner.redteam.poisoning.summary import AUC_TOLERANCE, BACKDOOR_TOLERANCE, Cell, Summary

_CSV_COLUMNS = ("num_byzantine", "defence", "attack", "seed", "auc", "average_precision", "backdoor")


def render_summary(summary: Summary) -> list[str]:
    """Return the matrix in lines: one table of AUC for each f, success of the backdoor, and where a defence lost."""
    lines = [f"AUC without attack, plain sum: {summary.clean.auc:.3f}"]
    for byzantine in summary.contest.num_byzantine:
        lines += ["", f"AUC with {byzantine} lying, * more than {AUC_TOLERANCE:g} below; last: backdoor's success"]
        lines += _table(summary, byzantine)
    lines += ["", *_losses(summary)]
    lines += [
        f"not run: {defence} with f={byzantine}: {why}"
        for (defence, byzantine), why in summary.contest.refusals.items()
    ]
    return lines


def render_csv(scores: Mapping[Duel, Score]) -> str:
    """Return one line a duel."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for duel, score in scores.items():
        figures = (f"{score.auc:.6f}", f"{score.average_precision:.6f}", f"{score.backdoor:.6f}")
        writer.writerow((duel.num_byzantine, duel.defence.name, duel.attack, duel.seed, *figures))
    return text.getvalue()


def summary_json(summary: Summary) -> dict[str, Any]:
    """Return the means in types that JSON has; what is no number is null."""
    return {
        "auc_tolerance": AUC_TOLERANCE,
        "backdoor_tolerance": BACKDOOR_TOLERANCE,
        "clean": _cell_json(summary.clean),
        "cells": [_cell_json(cell) for cell in summary.cells.values()],
        "not_run": [
            {"defence": defence, "num_byzantine": byzantine, "reason": why}
            for (defence, byzantine), why in summary.contest.refusals.items()
        ],
    }


def _cell_json(cell: Cell) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in asdict(cell).items()
    }


def _table(summary: Summary, byzantine: int) -> list[str]:
    """Return one line a defence, one column an attack."""
    headings = [NO_ATTACK if name == NO_ATTACK else ATTACKS[name].heading for name in summary.contest.columns]
    planted = [name for name in summary.contest.columns if name in BACKDOORS]
    rows = [["", *headings, *(f"backdoor of {ATTACKS[name].heading}" for name in planted)]]
    for defence in (row.name for row in summary.contest.rows):
        cells = [summary.cells.get((attack, defence, byzantine)) for attack in summary.contest.columns]
        backdoors = [summary.cells.get((attack, defence, byzantine)) for attack in planted]
        rows.append([defence, *map(_auc, cells), *map(_backdoor, backdoors)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _auc(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell.auc:.3f}{' ' if cell.keeps_auc else '*'}"


def _backdoor(cell: Cell | None) -> str:
    return "-" if cell is None else f"{cell.backdoor:.2f}{' ' if cell.keeps_backdoor_shut else '*'}"


def _losses(summary: Summary) -> list[str]:
    """Say in a line each where a robust defence did not hold."""
    lines = []
    for cell in summary.lost():
        what = [] if cell.keeps_auc else [f"AUC {cell.auc:.3f}"]
        what += [] if cell.keeps_backdoor_shut else [f"backdoor {cell.backdoor:.2f}"]
        lines.append(f"lost: {cell.defence} to {cell.attack}, f={cell.num_byzantine}: {', '.join(what)}")
    return lines or ["every robust defence held against every attack"]
