"""Whole jobs under each protection, with real sites, filters and ledgers around the server's TrainingRun; no FLARE."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from flare_cases import (
    DIMENSION,
    ENCRYPTED,
    MASKED,
    SHARED,
    SITES,
    SPEC,
    UNPROTECTED,
    Pki,
    committed_steps,
    envelope,
    make_context,
    server_heads,
)

from almoner.errors import AlmonerError, FederationError, PolicyViolation, ProtocolError
from almoner.flare.components.filters import check_budget, let_out, put_on_protection
from almoner.flare.job.answers import IsGood
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.protections import job_terms, server_protection, site_protection
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import REFUSAL, Reply, ReplyKind, TaskHeader, attached_bytes
from almoner.flare.training.context import load_training
from almoner.flare.training.job import TrainingJob
from almoner.flare.training.run import TrainingRun
from almoner.schema.job import JobSpec

Run = Callable[..., tuple["TrainingRun", "Members"]]
VICTIM = "hungary"
SPECS = {"plain": SPEC, "he": ENCRYPTED, "secagg": MASKED}
MECHANISMS = {"shared": SHARED, "none": UNPROTECTED}
ROUNDS = 4


@dataclass
class Members:
    """The sites of a job.

    Args:
        lost: says whether a site's answer to a task is lost on its way.
        deaf: says whether a site does not even hear a task.
        updates: what each site was about to send, by round.
        asked: every task, and who answered it with something else than the refusal.
    """

    contexts: dict[str, JobContext]
    lost: Callable[[str, TaskHeader], bool] = lambda site, header: False
    deaf: Callable[[str, TaskHeader], bool] = lambda site, header: False
    repeat: bool = False
    updates: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    asked: list[tuple[str, int, tuple[str, ...]]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = {site: TrainingJob(context) for site, context in self.contexts.items()}

    def ask(
        self, header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
    ) -> dict[str, Reply]:
        replies = {site: self.reply(site, header, body) for site in sites if not self.deaf(site, header)}
        if self.repeat and header.kind not in ("setup", "heads", "cosign", "model"):
            again = {site: self.reply(site, header, body) for site in replies}
            assert {site: self.said(reply) for site, reply in replies.items()} == {
                site: self.said(reply) for site, reply in again.items()
            }
        good = tuple(site for site, reply in replies.items() if reply.kind is not ReplyKind.REFUSAL)
        self.asked.append((header.kind, header.round, good))
        return {site: reply for site, reply in replies.items() if not self.lost(site, header)}

    def reply(self, site: str, header: TaskHeader, body: bytes) -> Reply:
        context = self.contexts[site]
        try:
            sealed: Sealed = self.jobs[site].answer(header, body)
            if isinstance(sealed.body, np.ndarray):
                self.updates.setdefault(header.round, {})[site] = sealed.body
            for step in (check_budget, put_on_protection, let_out):
                sealed = step(sealed, context)
        except AlmonerError as error:
            self.errors.append(f"{site}: {error}")
            return REFUSAL
        assert isinstance(sealed.body, bytes)
        return Reply(kind=sealed.kind, round=sealed.round, body=sealed.body)

    @staticmethod
    def said(reply: Reply) -> tuple[ReplyKind, bytes]:
        """Return a reply without its ledger head and voucher, which are signed anew each time."""
        return reply.kind, reply.body[: len(reply.body) - sum(attached_bytes(reply.kind))]

    def weights(self, site: str) -> np.ndarray:
        return self.jobs[site]._model.weights


@pytest.fixture
def run(tmp_path: Path, pki: Pki) -> Run:
    def make(
        kind: str,
        rounds: int = ROUNDS,
        min_sites: int = 3,
        changes: dict[str, object] | None = None,
        **hooks: Callable[..., bool],
    ) -> tuple[TrainingRun, Members]:
        spec: JobSpec = (SPECS | MECHANISMS)[kind].model_copy(
            update={"rounds": rounds, "min_sites": 3} | (changes or {})
        )
        contexts = {site: make_context(tmp_path / kind / site, pki, spec, site=site) for site in SITES}
        first = contexts[SITES[0]]
        members = Members(contexts, **hooks)  # type: ignore[arg-type]
        heads = server_heads(tmp_path / kind / "server", pki)
        server = server_protection(first.envelope, first.job_id, pki.roster, DIMENSION)
        return TrainingRun(
            first.envelope, first.job_id, server, DIMENSION, members.ask, lambda progress: None, heads
        ), members

    return make


def expected_weights(members: Members, contributors: list[tuple[str, ...]]) -> np.ndarray:
    """Return the steps along the plain sums of what the contributors were about to send."""
    context = next(iter(members.contexts.values()))
    spec, weights = context.envelope.spec, np.zeros(DIMENSION)
    for number, sites in enumerate(contributors, start=1):
        total = sum(members.updates[number][site] for site in sites)
        nominal = sum(context.nominal_records[site] for site in sites)
        factor = spec.training.learning_rate * context.grid.step / (spec.privacy.sampling_prob * nominal)
        weights = weights - factor * total
    return weights


@pytest.mark.parametrize("repeat", [False, True], ids=["once", "every task twice"])
@pytest.mark.parametrize("kind", SPECS)
def test_every_site_takes_the_steps_of_the_plain_sums(kind: str, repeat: bool, run: Run) -> None:
    job, members = run(kind, repeat=repeat)
    result = job.run(SITES)
    contributors = [record.contributors for record in result.rounds]
    assert contributors == [SITES] * ROUNDS
    expected = expected_weights(members, contributors)
    for site in SITES:
        assert members.weights(site).tobytes() == expected.tobytes()
        steps = [f"train-{number:04d}" for number in range(1, ROUNDS + 1)]
        assert committed_steps(members.contexts[site]) == [*steps, "accuracy"]
    assert set(result.releases) == set(SITES)
    assert members.errors == []
    assert [len(record.commitments_root) for record in result.rounds] == [64 * (kind == "secagg")] * ROUNDS
    tasks = {task for task, _, _ in members.asked}
    assert ("keys" in tasks) == (kind != "plain")
    assert ("acknowledge" in tasks) == (kind != "plain")
    assert ("reveal" in tasks) == (kind == "secagg")


@pytest.mark.threat("T-82")
def test_shared_noise_is_added_up_modulo_p_and_charged_at_every_site(run: Run) -> None:
    """A limit of 0 is what makes values residues: nothing saturates."""
    job, members = run("shared")
    result = job.run(SITES)
    assert [record.contributors for record in result.rounds] == [SITES] * ROUNDS
    expected = expected_weights(members, [SITES] * ROUNDS)
    for site in SITES:
        context = members.contexts[site]
        assert members.weights(site).tobytes() == expected.tobytes()
        sizes = context.nominal_records
        assert job_terms(context.envelope, context.job_id, sizes, DIMENSION, context.grid).limit == 0
        with context.site.ledger() as ledger:
            account = ledger.account(context.site.policy.accounts[0].population)
            assert account.rdp_committed == context.plan.charge(account.filter.order) > 0
            assert "2 of 4 sites keep their noise, 1 may not" in ledger.entries()[2].payload
    assert members.errors == []


@pytest.mark.threat("T-81")
def test_shared_noise_stays_charged_where_the_round_dies(run: Run) -> None:
    """Two of four sites are lost in round 2: its total never opens, and what was committed stays."""

    def is_lost(site: str, header: TaskHeader) -> bool:
        return site in SITES[:2] and (header.kind, header.round) == ("train", 2)

    job, members = run("shared", lost=is_lost)
    with pytest.raises(FederationError):
        job.run(SITES)
    for site in SITES:
        assert committed_steps(members.contexts[site]) == ["train-0001", "train-0002"]


def test_a_job_without_privacy_is_recorded_and_costs_nothing(run: Run) -> None:
    job, members = run("none")
    result = job.run(SITES)
    assert [record.contributors for record in result.rounds] == [SITES] * ROUNDS
    expected = expected_weights(members, [SITES] * ROUNDS)
    for site in SITES:
        context = members.contexts[site]
        assert members.weights(site).tobytes() == expected.tobytes()
        assert len(committed_steps(context)) == ROUNDS
        with context.site.ledger() as ledger:
            account = ledger.account(context.site.policy.accounts[0].population)
            assert account.rdp_spent == account.epsilon_spent == 0.0
            assert {event.kind for event in ledger.events(account.population)} == {"public_data"}
            ledger.verify()
    assert np.abs(expected).max() > 0


@pytest.mark.threat("T-80")
def test_data_that_is_not_public_any_more_is_not_trained_on_without_privacy(tmp_path: Path, pki: Pki) -> None:
    """The site takes its registration back between the decision and the job's start."""
    context = make_context(tmp_path, pki, UNPROTECTED)
    made = envelope(UNPROTECTED.model_copy(update={"workload": "heart_disease"}))
    assert load_training(context.job_id, context.site, made, context.plan).workload.name == "heart_disease"
    config = context.site.config
    private = {name: found.model_copy(update={"public": False}) for name, found in config.datasets.items()}
    site = replace(context.site, config=config.model_copy(update={"datasets": private}))
    with pytest.raises(PolicyViolation, match="not registered public any more"):
        load_training(context.job_id, site, made, context.plan)


def test_momentum_and_the_proximal_term_of_the_job_reach_the_model(run: Run) -> None:
    """One site of one step, so that all is known: the second round's step carries β of the first."""
    training = UNPROTECTED.training.model_copy(update={"server_momentum": 0.5, "update_bits": 10})
    job, members = run("none", rounds=2, changes={"training": training})
    job.run(SITES)
    context = next(iter(members.contexts.values()))
    factor = training.learning_rate * context.grid.step / (0.5 * sum(context.nominal_records.values()))
    first, second = (factor * sum(members.updates[number].values()) for number in (1, 2))
    assert context.grid.limit == 511
    assert members.weights(SITES[0]) == pytest.approx(-first - (second + 0.5 * first), rel=1e-12)


@pytest.mark.parametrize("kind", SPECS)
def test_a_job_that_only_releases_needs_no_keys(kind: str, run: Run) -> None:
    job, members = run(kind, rounds=0)
    assert set(job.run(SITES).releases) == set(SITES)
    assert {task for task, _, _ in members.asked} == {"setup", "heads", "cosign", "release", "model"}


def test_without_acknowledgements_a_site_that_missed_a_round_is_left_out(run: Run) -> None:
    def is_lost(site: str, header: TaskHeader) -> bool:
        return (site, header.kind, header.round) == (VICTIM, "train", 2)

    job, members = run("plain", lost=is_lost)
    result = job.run(SITES)
    assert [VICTIM in record.contributors for record in result.rounds] == [True, False, False, False]
    others = [site for site in SITES if site != VICTIM]
    expected = expected_weights(members, [record.contributors for record in result.rounds])
    assert all(members.weights(site).tobytes() == expected.tobytes() for site in others)


class TestDrops:
    """Four sites, c = 1, t = 3: one site may drop at any point."""

    @pytest.mark.parametrize(
        ("task", "included"), [("train", False), ("acknowledge", True), ("reveal", True)], ids=["M1", "ACK", "M3"]
    )
    def test_a_site_that_is_gone_for_good(self, task: str, included: bool, run: Run) -> None:
        order = ("train", "acknowledge", "reveal")

        def is_gone(site: str, header: TaskHeader) -> bool:
            late = header.round > 2 or (header.round == 2 and order.index(header.kind) >= order.index(task))
            return site == VICTIM and late

        job, members = run("secagg", deaf=is_gone)
        result = job.run(SITES)
        assert [VICTIM in record.contributors for record in result.rounds] == [True, included, False, False]
        expected = expected_weights(members, [record.contributors for record in result.rounds])
        for site in SITES:
            if site != VICTIM:
                assert members.weights(site).tobytes() == expected.tobytes()
        assert len(committed_steps(members.contexts[VICTIM])) == (1 if task == "train" else 2)

    @pytest.mark.parametrize("kind", ["he", "secagg"])
    def test_a_site_whose_update_is_lost_goes_on_and_is_charged(self, kind: str, run: Run) -> None:
        def is_lost(site: str, header: TaskHeader) -> bool:
            return (site, header.kind, header.round) == (VICTIM, "train", 2)

        job, members = run(kind, lost=is_lost)
        result = job.run(SITES)
        assert [VICTIM in record.contributors for record in result.rounds] == [True, False, True, True]
        expected = expected_weights(members, [record.contributors for record in result.rounds])
        assert members.weights(VICTIM).tobytes() == expected.tobytes()
        assert len(committed_steps(members.contexts[VICTIM])) == ROUNDS + 1
        assert set(result.releases) == set(SITES)

    def test_a_site_outside_the_ring_refuses_to_train_is_not_charged_and_comes_back(self, run: Run) -> None:
        def is_lost(site: str, header: TaskHeader) -> bool:  # and with it the offer for round 2
            return (site, header.kind, header.round) == (VICTIM, "reveal", 1)

        job, members = run("secagg", lost=is_lost)
        result = job.run(SITES)
        assert [VICTIM in record.contributors for record in result.rounds] == [True, False, True, True]
        assert 2 not in [number for number, sent in members.updates.items() if VICTIM in sent]
        steps = committed_steps(members.contexts[VICTIM])
        assert steps == ["train-0001", "train-0003", "train-0004", "accuracy"]
        expected = expected_weights(members, [record.contributors for record in result.rounds])
        assert members.weights(VICTIM).tobytes() == expected.tobytes()
        assert ("acknowledge", 2, SITES) in members.asked
        assert [error for error in members.errors if "ring" in error] == members.errors != []

    def test_a_site_that_was_not_charged_still_acknowledges_and_goes_on(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = TrainingJob._commit

        def refuse_once(self: TrainingJob, step: str) -> None:
            if self._context.site.policy.site == VICTIM and step == "train-0002":
                raise ProtocolError("no room in the ledger")
            commit(self, step)

        monkeypatch.setattr(TrainingJob, "_commit", refuse_once)
        job, members = run("secagg")
        result = job.run(SITES)
        assert [VICTIM in record.contributors for record in result.rounds] == [True, False, True, True]
        assert "train-0002" not in committed_steps(members.contexts[VICTIM])

    @pytest.mark.parametrize("task", ["train", "acknowledge", "reveal"])
    def test_two_drops_end_the_job_with_one_line(self, task: str, run: Run) -> None:
        def is_lost(site: str, header: TaskHeader) -> bool:
            return site in SITES[:2] and (header.kind, header.round) == (task, 2)

        job, members = run("secagg", lost=is_lost)
        with pytest.raises(FederationError, match=r"^round 2.*: 2 of at least 3 sites .*; the job ends here$"):
            job.run(SITES)
        assert all(len(committed_steps(context)) == 2 for context in members.contexts.values()), "it stays charged"


@pytest.mark.parametrize("kind", ["he", "secagg"])
@pytest.mark.parametrize("task", ["keys", "confirm", "agree", "conclude"])
def test_a_drop_in_the_set_up(kind: str, task: str, run: Run) -> None:
    job, members = run(kind, deaf=lambda site, header: site == VICTIM and header.kind == task)
    others = tuple(site for site in SITES if site != VICTIM)
    assert [record.contributors for record in job.run(SITES).rounds] == [others] * ROUNDS
    assert committed_steps(members.contexts[VICTIM]) == []


@pytest.mark.threat("T-36")
def test_a_second_announcement_of_a_round_ends_the_job_at_the_site(run: Run) -> None:
    """The sites' answers to the whole ring are there; the server asks again for a ring of three."""
    job, members = run("secagg")
    ask, told = members.ask, []

    def ask_again(
        header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
    ) -> dict[str, Reply]:
        replies = ask(header, body, sites, need, enough, is_good)
        if (header.kind, header.round) == ("train", 2):
            total = members.contexts[VICTIM].protection.total_bytes(header.contributors)
            offer = (len(body) - total) // len(header.ring)
            smaller = header.model_copy(update={"ring": header.ring[:3]})
            told.append(members.reply(VICTIM, smaller, body[: total + 3 * offer]))
        return replies

    job.ask = ask_again
    result = job.run(SITES)
    assert [reply.kind for reply in told] == [ReplyKind.REFUSAL]
    assert [VICTIM in record.contributors for record in result.rounds] == [True, True, False, False]
    with pytest.raises(ProtocolError, match="its keys are forgotten"):
        members.contexts[VICTIM].protection.protect(2, members.updates[2][VICTIM])


class TestModels:
    """The first site of the roster gives another model than it has."""

    @pytest.mark.parametrize("kind", SPECS)
    @pytest.mark.parametrize("value", [np.nan, 7.0])
    def test_one_site_cannot_set_the_model(self, kind: str, value: float, run: Run) -> None:
        job, members = run(kind)
        ask = members.ask

        def ask_a_liar(
            header: TaskHeader, body: bytes, sites: tuple[str, ...], need: int, enough: int, is_good: IsGood
        ) -> dict[str, Reply]:
            replies = ask(header, body, sites, need, enough, is_good)
            if header.kind == "model":
                false = np.full(DIMENSION, value).tobytes()
                replies[SITES[0]] = replies[SITES[0]].model_copy(update={"body": false})
            return replies

        job.ask = ask_a_liar
        assert job.run(SITES).model == members.weights(VICTIM).tolist()

    def test_there_is_none_if_too_few_give_the_same(self, run: Run) -> None:
        job, _ = run("secagg", lost=lambda site, header: site in SITES[:2] and header.kind == "model")
        assert job.run(SITES).model is None


@pytest.mark.parametrize("kind", ["he", "secagg"])
def test_a_site_whose_roster_declares_other_sizes_is_left_out(kind: str, run: Run) -> None:
    """It would divide the sums by something else than the others, and hold another model."""
    job, members = run(kind)
    context = members.contexts[VICTIM]
    roster = context.site.roster
    other = tuple(
        entry.model_copy(update={"nominal_records": {"cardiology": 99}}) if entry.site == "switzerland" else entry
        for entry in roster.sites
    )
    files = replace(context.site, roster=roster.model_copy(update={"sites": other}))
    protection = site_protection(files, context.envelope, context.job_id, DIMENSION, context.grid)
    members.contexts[VICTIM] = replace(context, site=files, protection=protection)
    members.jobs[VICTIM] = TrainingJob(members.contexts[VICTIM])
    others = tuple(site for site in SITES if site != VICTIM)
    assert [record.contributors for record in job.run(SITES).rounds] == [others] * ROUNDS
