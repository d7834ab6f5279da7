"""The red team's figures in lines, with what they are about and what they do not say."""

from collections.abc import Mapping, Sequence

from almoner.redteam.audit.checks import CHECK_SIGNIFICANCE
from almoner.redteam.audit.report import AUDIT_SIGNIFICANCE, FAMILY_SIGNIFICANCE, LIMITS, NUM_CHECKS, RANDOMNESS, Audit
from almoner.redteam.membership.rates import FALSE_POSITIVE_RATES, LEAST_NON_MEMBERS, Rate, Worth
from almoner.redteam.membership.study import Arm, most_auc
from almoner.redteam.reconstruction.study import MATERIAL, Bound, Outcome


def audit_lines(audit: Audit) -> list[str]:
    """Return what was audited, then a line for each trainer."""
    run = audit.run
    width = max(len(finding.fault) for finding in audit.findings)
    return [
        f"audited: {run.code_path}",
        f"  σ={run.noise_multiplier:g}, q={run.sampling_prob:g}, T={run.num_steps}: claims ε={run.epsilon:.3f} at "
        f"δ={run.delta:g}; {LIMITS}",
        f"  {RANDOMNESS}",
        f"  {audit.num_runs} runs of {audit.num_canaries} canaries, {audit.num_guesses} guesses each; by itself a run "
        f"of so many can never show more than ε={audit.ceiling:.2f}; against the mechanism's own curve, more",
        f"  family-wise α={FAMILY_SIGNIFICANCE:g}: {AUDIT_SIGNIFICANCE:g} for the canaries, {CHECK_SIGNIFICANCE:g} "
        f"for each of {NUM_CHECKS} checks",
        *(
            f"  {finding.fault.ljust(width)}  ε≥{finding.epsilon_shown:5.2f}  {finding.verdict}"
            for finding in audit.findings
        ),
    ]


def membership_lines(arms: Sequence[Arm]) -> list[str]:
    """Return two lines for each arm: both attacks, beside the bound."""
    lines = ["membership inference, true positive rate at a false positive rate [95 % interval]"]
    for arm in arms:
        claim = "claims nothing" if arm.bound is None else f"ε={arm.epsilon:g}, so AUC ≤ {most_auc(arm.bound):.3f}"
        units = arm.worth["lira"].num_units
        lines.append(f"  {arm.name} ({arm.models} models of each set, {units} units; {claim})")
        lines += [f"    {attack}: {_worth(worth, arm)}" for attack, worth in arm.worth.items()]
    return lines


def reconstruction_lines(outcomes: Sequence[Outcome], bound: Bound, refused: Mapping[str, str]) -> list[str]:
    """Return a line for each attack and view, the bound, and what a site says to crafted weights."""
    views = list(dict.fromkeys(outcome.view for outcome in outcomes))
    width = max(map(len, views))
    lines = [
        f"reconstruction: {MATERIAL}",
        "  pictures told (PSNR > 20 dB and SSIM > 0.5), mean PSNR, mean SSIM",
    ]
    for attack, batch in dict.fromkeys((outcome.attack, outcome.batch) for outcome in outcomes):
        lines.append(f"  {attack}, {batch} in a step")
        lines += [
            f"    {outcome.view.ljust(width)}  {outcome.breached:3d} of {outcome.pictures:<3d}  {outcome.psnr:5.1f} dB"
            f"  {outcome.ssim:5.2f}"
            for outcome in outcomes
            if (outcome.attack, outcome.batch) == (attack, batch)
        ]
    lines.append(
        f"  bound (ReRo): from a prior chance of {bound.prior:.2%}, at most {bound.one_step:.2%} by one noised step "
        f"that surely has the picture, {bound.whole_job:.2%} by the whole job"
    )
    return lines + [f"  a site given {what}: {why or 'takes it'}" for what, why in refused.items()]


def _worth(worth: Worth, arm: Arm) -> str:
    """Return an attack's figures in words."""
    measured = {rate.false_positive_rate: rate for rate in worth.rates}
    parts = [f"AUC {worth.auc:.3f}"]
    for rate in FALSE_POSITIVE_RATES:
        if rate in measured:
            parts.append(_rate(measured[rate], arm))
        else:
            parts.append(f"not at {rate:.1%}: fewer than {LEAST_NON_MEMBERS[rate]:,} non-members")
    return "; ".join(parts)


def _rate(rate: Rate, arm: Arm) -> str:
    bound = "" if arm.bound is None else f", bound {1 - arm.bound(rate.false_positive_rate):.1%}"
    return f"{rate.true_positive_rate:.1%} at {rate.false_positive_rate:.1%} [{rate.low:.1%}, {rate.high:.1%}]{bound}"
