"""The red team's figures as PNG files: ROC curves on logarithmic axes, pictures and what came out, the audit."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from almoner.redteam.audit.report import Audit
from almoner.redteam.membership.study import Arm
from almoner.redteam.png import png_of
from almoner.redteam.reconstruction.study import Outcome

_DPI = 110
_LEAST = 1e-3
_COLOURS = {"lira": "#1f5a96", "rmia": "#c0504d"}


def draw_audit(audit: Audit) -> bytes:
    """Draw what each trainer showed beside the claim, and what the canaries could show at most.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(7.0, 3.2), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    names = [finding.fault for finding in audit.findings]
    colours = ["#c0504d" if finding.is_refuted else "#3b8f5c" for finding in audit.findings]
    axes.barh(names, [finding.epsilon_shown for finding in audit.findings], color=colours)
    axes.axvline(audit.run.epsilon, color="black", linestyle="--", label=f"claimed: {audit.run.epsilon:.2f}")
    most = f"most that one run of {audit.num_canaries} canaries can show by itself: {audit.ceiling:.2f}"
    axes.axvline(audit.ceiling, color="grey", linestyle=":", label=most)
    axes.invert_yaxis()
    axes.set_xlabel(f"ε that the canaries show, at δ={audit.run.delta:g}")
    axes.legend(fontsize=8)
    return png_of(figure)


def draw_roc(arms: Sequence[Arm]) -> bytes:
    """Draw one panel for each arm: both attacks, guessing, and the bound where there is a claim.

    Returns:
        A PNG file.
    """
    figure = Figure(figsize=(3.3 * len(arms), 3.6), dpi=_DPI, layout="constrained")
    for axes, arm in zip(figure.subplots(1, len(arms), squeeze=False)[0], arms, strict=True):
        _roc(axes, arm)
    return png_of(figure)


def draw_pictures(outcomes: Sequence[Outcome], attack: str, batch: int) -> bytes:
    """Draw the attacked pictures in the first row, and below what came out of each view.

    Args:
        outcomes: of all attacks and views.
        attack: which to draw.
        batch: and of which size.

    Returns:
        A PNG file.
    """
    chosen = [outcome for outcome in outcomes if (outcome.attack, outcome.batch) == (attack, batch)]
    columns = len(chosen[0].shown[0])
    figure = Figure(figsize=(1.1 * columns + 2.4, 1.2 * (len(chosen) + 1)), dpi=_DPI, layout="constrained")
    axes = figure.subplots(len(chosen) + 1, columns, squeeze=False)
    rows = [("the pictures", chosen[0].shown[0])] + [(_label(outcome), outcome.shown[1]) for outcome in chosen]
    for line, (name, pictures) in zip(axes, rows, strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
        for place, cell in enumerate(line):
            cell.set_xticks([])
            cell.set_yticks([])
            cell.set_frame_on(False)
            cell.imshow(pictures[place], cmap="gray", vmin=0, vmax=1)
    figure.suptitle(f"{attack}, {batch} in a step", fontsize=9)
    return png_of(figure)


def _label(outcome: Outcome) -> str:
    return f"{outcome.view.replace(', ', chr(10))}\n{outcome.breached} of {outcome.pictures}, {outcome.psnr:.0f} dB"


def _roc(axes: Axes, arm: Arm) -> None:
    """Draw one arm's curves on logarithmic axes."""
    least = max(_LEAST, 2 / arm.worth["lira"].num_units)  # left of it are fewer than two non-members
    line = np.geomspace(least, 1, 200)
    axes.plot(line, line, ":", color="grey", label="guessing")
    for attack, worth in arm.worth.items():
        label = f"{attack}: AUC {worth.auc:.3f}"
        axes.plot(worth.false_positive_rates, worth.true_positive_rates, color=_COLOURS[attack], label=label)
    if arm.bound is not None:
        axes.plot(line, arm.bound.most_found(line), "--", color="black", label=f"bound of ε={arm.epsilon:g}")
    axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least / 2, 1.05))
    axes.set_title(f"{arm.name}, {arm.worth['lira'].num_units} units", fontsize=9)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(fontsize=7)
