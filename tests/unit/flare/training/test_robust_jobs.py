"""Robust aggregation in clear, through real sites, filters and ledgers: one site sends what it likes."""

from pathlib import Path

import numpy as np
import pytest
from flare_cases import DIMENSION, SITES, SPEC, Pki, make_context, server_heads
from test_protected_jobs import Members, expected_weights

from almoner.flare.job.protections import server_protection
from almoner.flare.results.job_result import JobResult
from almoner.flare.training.run import TrainingRun
from almoner.privacy.plans import plan_of
from almoner.protection.plain import PlainSite, message_bytes
from almoner.protection.scheme import VALUE_BOUND
from almoner.robust.rows import integer_total, mean_rows
from almoner.schema.aggregation import PlainAggregation, RobustAggregation

LIAR = "hungary"
ROUNDS = 3


class Job:
    """A job of the four hospitals, of which one multiplies its updates."""

    def __init__(self, folder: Path, pki: Pki, rule: str | None, factor: int = 1) -> None:
        robust = rule and RobustAggregation(kind="robust", rule=rule, num_byzantine_sites=1)  # type: ignore[arg-type]
        aggregation = robust or PlainAggregation(kind="plain")
        changes = {"rounds": ROUNDS, "min_sites": 3, "releases": (), "aggregation": aggregation}
        spec = SPEC.model_copy(update=changes)
        contexts = {site: make_context(folder / site, pki, spec, site=site) for site in SITES}
        self.first = contexts[SITES[0]]
        self.members = Members(contexts)
        work = self.members.jobs[LIAR]._work
        honest = work.train

        def train(weights: np.ndarray) -> np.ndarray:
            return np.clip(factor * honest(weights), -VALUE_BOUND, VALUE_BOUND)

        work.train = train  # type: ignore[method-assign]
        self.server = server_protection(self.first.envelope, self.first.job_id, pki.roster, DIMENSION)
        heads = server_heads(folder / "server", pki)
        first, ask = self.first, self.members.ask
        self.run = TrainingRun(first.envelope, first.job_id, self.server, DIMENSION, ask, lambda progress: None, heads)

    def result(self) -> JobResult:
        return self.run.run(SITES)

    def note_totals(self) -> list[np.ndarray]:
        """Return where the first site's totals will be, as it opens them."""
        totals: list[np.ndarray] = []
        opened = self.first.protection.open

        def note(number: int, sites: tuple[str, ...], total: bytes) -> np.ndarray:
            totals.append(opened(number, sites, total))
            return totals[-1]

        self.first.protection.open = note  # type: ignore[method-assign]
        return totals

    def honest_range(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return between what the honest sites' mean updates lie, as a total of all sites."""
        context, updates = self.first, self.members.updates[number]
        sizes = np.array([float(context.nominal_records[site]) for site in SITES])
        prob = context.envelope.spec.privacy.sampling_prob
        rows = mean_rows(np.stack([updates[site] for site in SITES]), sizes, context.grid.step, prob)
        honest = np.delete(rows, SITES.index(LIAR), axis=0)
        return tuple(  # type: ignore[return-value]
            integer_total(edge, float(sizes.sum()), context.grid.step, prob) for edge in (honest.min(0), honest.max(0))
        )


@pytest.mark.threat("T-40")
def test_a_robust_total_lies_between_the_honest_ones_and_a_plain_one_does_not(tmp_path: Path, pki: Pki) -> None:
    inside = {}
    for rule in (None, "median", "trimmed_mean"):
        job = Job(tmp_path / str(rule), pki, rule, factor=-10_000)
        totals = job.note_totals()
        result = job.result()
        edges = [job.honest_range(number) for number in range(1, len(totals) + 1)]
        inside[rule] = all(
            ((low - 1 <= total) & (total <= high + 1)).all() for (low, high), total in zip(edges, totals, strict=True)
        )
        assert len(totals) == ROUNDS
        assert {job.members.weights(site).tobytes() for site in SITES} == {job.members.weights(LIAR).tobytes()}
        assert [record.contributors for record in result.rounds] == [SITES] * ROUNDS
        assert job.members.errors == []
    assert inside == {None: False, "median": True, "trimmed_mean": True}


def test_the_report_says_who_was_cut_and_with_which_score(
    tmp_path: Path, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = Job(tmp_path, pki, "geometric_median", factor=-10_000)
    for record in job.result().rounds:
        assert record.report is not None
        assert record.report["sites"] == list(SITES)
        assert record.report["rule"] == "geometric_median"
        weights = dict(zip(SITES, (row["weight"] for row in record.report["rows"]), strict=True))
        assert weights[LIAR] == min(weights.values())
    assert "round 1: cleveland kept" in caplog.text


def test_plain_jobs_have_no_report(tmp_path: Path, pki: Pki) -> None:
    job = Job(tmp_path, pki, None)
    result = job.result()
    assert [record.report for record in result.rounds] == [None] * ROUNDS
    assert np.array_equal(job.members.weights(LIAR), expected_weights(job.members, [SITES] * ROUNDS))


@pytest.mark.threat("T-120")
@pytest.mark.parametrize("rule", [None, "median"])
def test_an_update_without_its_noise_is_left_out_and_its_site_named(tmp_path: Path, pki: Pki, rule: str | None) -> None:
    job, dimension = Job(tmp_path, pki, rule), 5000
    first, spec = job.first, job.first.envelope.training
    noise = plan_of(spec, len(SITES)).noise_multiplier
    rng, messages = np.random.default_rng(0), {}
    for name in SITES:
        site = PlainSite(dimension)
        site.begin(1, (), b"")
        scale = (0.9 if name == LIAR else 1.0) * noise * spec.privacy.max_grad_norm / first.grid.step
        messages[name] = site.protect(1, np.rint(rng.normal(0, scale, dimension)).astype(np.int64))
    talk = server_protection(first.envelope, first.job_id, pki.roster, dimension).round(1, SITES)
    next(talk)
    with pytest.raises(StopIteration) as end:
        talk.send(messages)
    assert end.value.value.named == (LIAR,)
    assert end.value.value.contributors == tuple(site for site in SITES if site != LIAR)


@pytest.mark.threat("T-45")
def test_a_site_has_no_place_to_claim_a_count_of_samples(tmp_path: Path, pki: Pki) -> None:
    """A message is a header that the server compares with its own, and d values; weights are the roster's."""
    job = Job(tmp_path, pki, "median")
    site = job.members.contexts[LIAR].protection
    site.begin(1, (), b"")
    message = site.protect(1, np.arange(DIMENSION))
    assert len(message) == message_bytes(DIMENSION) == 36 + 4 * DIMENSION
    answers = dict.fromkeys(SITES, message)
    for place in range(36):
        changed = bytearray(message)
        changed[place] ^= 1
        talk = job.server.round(1, SITES)
        next(talk)
        with pytest.raises(StopIteration) as end:
            talk.send(answers | {LIAR: bytes(changed)})
        assert end.value.value.named == (LIAR,)
        assert LIAR not in end.value.value.contributors
