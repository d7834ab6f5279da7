"""One site's job: every (state, task) pair, commits before data, repeats for nothing, totals that must not count."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flare_cases import (
    DIMENSION,
    PAIR,
    RELEASE_ONLY,
    SITES,
    SPEC,
    TRAIN_ONLY,
    Driver,
    Pki,
    committed_steps,
    head,
    header,
    make_context,
    shown,
    total_of,
    watch_loading,
)

from almoner.errors import AlmonerError, DataError, LedgerError, ProtocolError
from almoner.flare.evidence.live_log import LiveLog
from almoner.flare.evidence.log_cosigning import JobLog
from almoner.flare.job.consent import CONSENT_BYTES, sign_consent, verify_consent
from almoner.flare.job.job_context import JobContext
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.training.job import TrainingJob
from almoner.privacy.heads import EMPTY_SLOT
from almoner.protection.plain import PlainSite
from almoner.release.accuracy import RELEASE_BYTES
from almoner.schema.job import JobSpec


@cache
def signed(key: Path, site: str, envelope_digest: str, job_id: str, consents: bool) -> str:
    """Reading a key takes 40 ms, and most tests have one job."""
    return sign_consent(key.read_bytes(), site, envelope_digest, job_id, consents).hex()


def consent_of(context: JobContext, pki: Pki, site: str, consents: bool = True, job_id: str | None = None) -> str:
    return signed(pki.key(site), site, context.envelope_digest, job_id or context.job_id, consents)


STATES = ("new", "met", "proven", "ready", "trained 1", "trained 2", "released", "done")
PROTECTION = ("keys 0", "confirm 0", "agree 0", "conclude 0", "acknowledge 1", "acknowledge 2", "reveal 1", "reveal 2")
TASKS = ("setup", "heads", "cosign", *PROTECTION, "train 1", "train 2", "train 3", "release", "model", "log")


@pytest.fixture
def drive(tmp_path: Path, pki: Pki) -> Callable[..., Driver]:
    """Bring a new job into a state."""

    def make(state: str, spec: JobSpec = SPEC) -> Driver:
        driver = Driver(make_context(tmp_path / "site", pki, spec))
        driver.consents = {site: consent_of(driver.context, pki, site) for site in PAIR}
        steps: list[Callable[[], Any]] = [driver.introduce, driver.prove, driver.cosign]
        steps += [lambda number=number: driver.train(number) for number in range(1, spec.rounds + 1)]
        steps += [driver.release] if spec.releases else []
        steps += [lambda: driver.model(due=not spec.releases and spec.rounds > 0)]
        names = ["new", "met", "proven", "ready", *(f"trained {number}" for number in range(1, spec.rounds + 1))]
        names += ["released"] if spec.releases else []
        for step in steps[: [*names, "done"].index(state)]:
            step()
        return driver

    return make


def carry_out(driver: Driver, task: str, state: str) -> Sealed:
    """Send a task in the form in which the state would take it, if it takes it at all."""
    if task in ("setup", "heads", "cosign"):
        return {"setup": driver.introduce, "heads": driver.prove, "cosign": driver.cosign}[task]()
    if task == "log":
        return driver.cosign_log() if state not in ("new", "met") else driver.job.answer(header("log"), b"")
    due = state.startswith("trained")
    body = driver.total() if due and task.split()[0] in ("train", "release", "model") else b""
    contributors = PAIR if due else ()
    kind, _, number = task.partition(" ")
    rounds = driver.context.envelope.spec.rounds
    consents = driver.consents if kind == "model" else {}
    task_header = header(kind, int(number or rounds + 1), contributors, consents)  # type: ignore[arg-type]
    return driver.job.answer(task_header, body)


ALLOWED = {
    ("new", "setup"): ReplyKind.SETUP,
    ("met", "heads"): ReplyKind.HEAD,
    ("proven", "cosign"): ReplyKind.COSIGNATURE,
    ("ready", "train 1"): ReplyKind.UPDATE,
    ("trained 1", "train 1"): ReplyKind.UPDATE,
    ("trained 1", "train 2"): ReplyKind.UPDATE,
    ("trained 2", "train 2"): ReplyKind.UPDATE,
    ("trained 2", "release"): ReplyKind.RELEASE,
    ("released", "release"): ReplyKind.RELEASE,
    ("released", "model"): ReplyKind.MODEL,
    **{(state, "log"): ReplyKind.LOG for state in STATES[3:]},
}
CHARGED = {("ready", "train 1"), ("trained 1", "train 2"), ("trained 2", "release")}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_and_task(state: str, task: str, drive: Callable[..., Driver]) -> None:
    driver = drive(state)
    before, steps = head(driver.context), committed_steps(driver.context)
    if (state, task) in ALLOWED:
        assert carry_out(driver, task, state).kind is ALLOWED[state, task]
    else:
        with pytest.raises(ProtocolError):
            carry_out(driver, task, state)
    if (state, task) == ("proven", "cosign"):
        assert head(driver.context)[0] == before[0] + 1
    elif (state, task) in CHARGED:
        assert len(committed_steps(driver.context)) == len(steps) + 1
    else:
        assert head(driver.context) == before


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("state", ["new", "met", "proven", "ready", "trained 1", "trained 2", "done"])
def test_every_state_and_task_of_a_job_without_release(state: str, task: str, drive: Callable[..., Driver]) -> None:
    driver = drive(state, TRAIN_ONLY)
    allowed = {pair: kind for pair, kind in ALLOWED.items() if kind is not ReplyKind.RELEASE and pair[0] != "released"}
    allowed["trained 2", "model"] = ReplyKind.MODEL
    if (state, task) in allowed:
        assert carry_out(driver, task, state).kind is allowed[state, task]
    else:
        before = head(driver.context)
        with pytest.raises(ProtocolError):
            carry_out(driver, task, state)
        assert head(driver.context) == before


@pytest.mark.parametrize("task", ["setup", "heads", "cosign", "train 1", "release", "model", "log"])
@pytest.mark.parametrize("state", ["new", "met", "proven", "ready", "released", "done"])
def test_every_state_and_task_of_a_job_without_rounds(state: str, task: str, drive: Callable[..., Driver]) -> None:
    driver = drive(state, RELEASE_ONLY)
    allowed = {
        ("new", "setup"): ReplyKind.SETUP,
        ("met", "heads"): ReplyKind.HEAD,
        ("proven", "cosign"): ReplyKind.COSIGNATURE,
        ("ready", "release"): ReplyKind.RELEASE,
        ("released", "release"): ReplyKind.RELEASE,
        ("released", "model"): ReplyKind.MODEL,
        **{(state, "log"): ReplyKind.LOG for state in ("ready", "released", "done")},
    }
    if (state, task) in allowed:
        assert carry_out(driver, task, state).kind is allowed[state, task]
    else:
        before = head(driver.context)
        with pytest.raises(ProtocolError):
            carry_out(driver, task, state)
        assert head(driver.context) == before


class TestCommits:
    @pytest.mark.threat("T-09")
    def test_the_ledger_holds_the_commit_before_data_is_loaded(self, context: JobContext) -> None:
        seen: list[list[str]] = []
        driver = Driver(watch_loading(context, lambda: seen.append(committed_steps(context))))
        driver.set_up()
        assert seen == []
        driver.train(1)
        assert seen == [["train-0001"]]

    def test_the_same_for_a_job_that_only_releases(self, tmp_path: Path, pki: Pki) -> None:
        context = make_context(tmp_path / "site", pki, RELEASE_ONLY)
        seen: list[list[str]] = []
        driver = Driver(watch_loading(context, lambda: seen.append(committed_steps(context))))
        driver.set_up()
        driver.release()
        assert seen == [["accuracy"]]

    def test_every_round_is_committed_before_its_gradients(
        self, context: JobContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from almoner.training.dp_sgd import DpSgdTrainer

        seen: list[list[str]] = []
        run_round = DpSgdTrainer.run_round

        def watched(self: DpSgdTrainer, weights: Any) -> Any:
            seen.append(committed_steps(context))
            return run_round(self, weights)

        monkeypatch.setattr(DpSgdTrainer, "run_round", watched)
        driver = Driver(context)
        driver.set_up()
        driver.train(1)
        driver.train(2)
        assert seen == [["train-0001"], ["train-0001", "train-0002"]]

    def test_a_crash_while_loading_keeps_the_charge(self, context: JobContext) -> None:
        def crash() -> None:
            raise DataError("no such file")

        driver = Driver(watch_loading(context, crash))
        driver.set_up()
        with pytest.raises(DataError):
            driver.train(1)
        assert committed_steps(context) == ["train-0001"]
        with pytest.raises(ProtocolError):
            driver.train(1)  # a round is begun once

    def test_a_ledger_that_does_not_commit_stops_the_round(self, context: JobContext) -> None:
        loaded: list[int] = []
        driver = Driver(watch_loading(context, lambda: loaded.append(1)))
        driver.set_up()
        with context.site.ledger() as ledger:
            ledger.settle(context.job_id, "ended")
        with pytest.raises(LedgerError):
            driver.train(1)
        assert loaded == []

    def test_a_whole_job_commits_each_step_once(self, drive: Callable[..., Driver]) -> None:
        driver = drive("done")
        assert committed_steps(driver.context) == ["train-0001", "train-0002", "accuracy"]
        with driver.context.site.ledger() as ledger:
            report = ledger.verify()
            account = ledger.account(driver.context.dataset.population)
        assert report.num_entries == head(driver.context)[0]
        assert account.rdp_committed == driver.context.plan.charge(account.filter.order)


class TestRepeats:
    @pytest.mark.parametrize("number", [1, 2])
    def test_a_repeated_round_is_the_same_object(self, number: int, drive: Callable[..., Driver]) -> None:
        driver = drive("ready")
        for earlier in range(1, number + 1):
            first = driver.train(earlier)
        before = head(driver.context)
        for body, contributors in ((b"", ()), (b"anything", ("x",)), (driver.total(), PAIR)):
            assert driver.job.answer(header("train", number, contributors), body) is first
        assert head(driver.context) == before

    def test_a_repeat_does_not_touch_data(self, context: JobContext) -> None:
        loaded: list[int] = []
        driver = Driver(watch_loading(context, lambda: loaded.append(1)))
        driver.set_up()
        driver.train(1)
        assert loaded == [1]
        driver.job._work._trainer = None  # so that training again would have to load again
        driver.job._work._data = None
        driver.job.answer(header("train", 1), b"")
        assert loaded == [1]

    def test_a_repeated_release_is_the_same_object(self, drive: Callable[..., Driver]) -> None:
        driver = drive("trained 2")
        first = driver.release()
        before = head(driver.context)
        assert driver.release() is first
        assert driver.release(due=False) is first
        assert head(driver.context) == before
        assert len(first.body) == RELEASE_BYTES

    def test_the_job_goes_on_after_a_repeat(self, drive: Callable[..., Driver]) -> None:
        driver = drive("trained 1")
        driver.job.answer(header("train", 1), b"")
        assert driver.train(2).round == 2

    def test_an_earlier_round_is_never_answered_again(self, drive: Callable[..., Driver]) -> None:
        driver = drive("trained 2")
        with pytest.raises(ProtocolError):
            driver.job.answer(header("train", 1), b"")


def sent_by(update: Any) -> bytes:
    """Return what one site sends for an update."""
    site = PlainSite(DIMENSION)
    site.begin(1, (), b"")
    return site.protect(1, update)


ENDS_THE_JOB = (
    "wrong order",
    "too few",
    "twice the same",
    "unknown site",
    "none named",
    "one site too many",
    "fewer addends than named",
    "a single update",
    "out of range",
)
"""Totals that are not as due; the others are no answer to what is due at all."""

BAD_TOTALS: dict[str, Callable[[Driver], tuple[tuple[str, ...], int, bytes]]] = {
    "wrong order": lambda d: (PAIR[::-1], 2, d.total()),
    "too few": lambda d: (PAIR[:1], 2, total_of(d.update)),
    "none": lambda d: ((), 2, b""),
    "none named": lambda d: ((), 2, d.total()),
    "twice the same": lambda d: ((PAIR[0], PAIR[0]), 2, d.total()),
    "unknown site": lambda d: ((PAIR[0], "nowhere"), 2, d.total()),
    "one site too many": lambda d: (SITES[:3], 2, d.total()),
    "fewer addends than named": lambda d: (PAIR, 2, total_of(d.update)),
    "no body": lambda d: (PAIR, 2, b""),
    "short": lambda d: (PAIR, 2, d.total()[:-4]),
    "long": lambda d: (PAIR, 2, d.total() + b"\0\0\0\0"),
    "a single update": lambda d: (PAIR, 2, sent_by(d.update)),
    "another round": lambda d: (PAIR, 3, d.total()),
    "round 0": lambda d: (PAIR, 0, d.total()),
    "out of range": lambda d: (PAIR, 2, d.total()[:-4] + b"\xff\xff\xff\x7f"),
}


class TestTotals:
    @pytest.mark.parametrize("name", BAD_TOTALS)
    def test_a_wrong_total_raises_and_charges_nothing(self, name: str, drive: Callable[..., Driver]) -> None:
        driver = drive("trained 1")
        before = head(driver.context)
        contributors, number, body = BAD_TOTALS[name](driver)
        with pytest.raises(ProtocolError):
            driver.job.answer(header("train", number, contributors), body)
        assert head(driver.context) == before
        if name in ENDS_THE_JOB:
            with pytest.raises(ProtocolError, match="no further part"):
                driver.train(2)
            assert head(driver.context) == before
        else:
            assert driver.train(2).round == 2

    @pytest.mark.parametrize("contributors", [PAIR, ()])
    def test_a_total_before_the_first_round(self, contributors: tuple[str, ...], drive: Callable[..., Driver]) -> None:
        driver = drive("ready")
        before = head(driver.context)
        with pytest.raises(ProtocolError, match="not what is due"):
            driver.job.answer(header("train", 1, contributors), total_of(*[np.ones(DIMENSION, np.int64)] * 2))
        assert head(driver.context) == before

    def test_the_weights_move_by_the_sum_over_the_declared_sizes(self, drive: Callable[..., Driver]) -> None:
        driver = drive("trained 1")
        total = driver.update + 1
        driver.train(2)
        context, spec = driver.context, driver.context.envelope.spec
        nominal = sum(context.nominal_records[site] for site in PAIR)
        step = spec.training.learning_rate * context.grid.step / (spec.privacy.sampling_prob * nominal)
        np.testing.assert_allclose(driver.job._model.weights, -step * total, rtol=1e-12)

    def test_two_sites_reach_bit_identical_weights(self, tmp_path: Path, pki: Pki) -> None:
        long = SPEC.model_copy(update={"rounds": 5, "releases": ()})
        contexts = [make_context(tmp_path / site, pki, long, site=site)
                    for site in PAIR]  # fmt: skip
        contexts[1].workload.offset = 0.3  # type: ignore[attr-defined] # other data
        jobs = [TrainingJob(context) for context in contexts]
        introductions = [job.answer(header("setup"), b"").body for job in jobs]
        consents = {site: data[:CONSENT_BYTES].hex()  # type: ignore[union-attr]
                    for site, data in zip(PAIR, introductions, strict=True)}  # fmt: skip
        log = JobLog(LiveLog(contexts[0].site.folder / "server", contexts[0].job_id), pki.roster)
        log_shown = shown(log, dict(zip(PAIR, introductions, strict=True)))  # type: ignore[arg-type]
        held = b"".join([*introductions, log_shown, EMPTY_SLOT * len(SITES)])  # type: ignore[list-item]
        heads = b"".join(job.answer(header("heads", 0, PAIR), held).body for job in jobs)  # type: ignore[misc]
        for job in jobs:
            job.answer(header("cosign", 0, PAIR), heads)
        contributors: tuple[str, ...] = ()
        total = b""
        for number in range(1, 6):
            updates = [job.answer(header("train", number, contributors), total).body for job in jobs]
            assert not np.array_equal(*updates)
            contributors, total = PAIR, total_of(*updates)  # type: ignore[arg-type]
            if number > 1:
                assert jobs[0]._model.weights.tobytes() == jobs[1]._model.weights.tobytes()
                assert np.abs(jobs[0]._model.weights).max() > 0
        models = [job.answer(header("model", 6, PAIR, consents), total).body for job in jobs]
        assert models[0] == models[1] == jobs[0]._model.weights.astype("<f8").tobytes()


class TestModel:
    def ask(self, driver: Driver, consents: dict[str, str]) -> Sealed:
        return driver.job.answer(header("model", 3, (), consents), b"")

    def test_it_is_the_final_weights(self, drive: Callable[..., Driver]) -> None:
        driver = drive("released")
        model = self.ask(driver, driver.consents)
        assert (model.kind, model.round, model.step) == (ReplyKind.MODEL, 3, "")
        assert model.body == driver.job._model.weights.tobytes()
        assert len(model.body) == 8 * DIMENSION

    def test_sites_that_did_not_contribute_need_not_consent(self, drive: Callable[..., Driver]) -> None:
        driver = drive("released")
        assert set(driver.consents) == set(PAIR) < set(SITES)
        assert self.ask(driver, driver.consents).kind is ReplyKind.MODEL

    @pytest.mark.parametrize("site", PAIR)
    def test_no_model_without_the_consent_of_each_contributor(
        self, site: str, drive: Callable[..., Driver], pki: Pki
    ) -> None:
        driver = drive("released")
        other = PAIR[1 - PAIR.index(site)]
        bad = [
            {other: driver.consents[other]},
            {**driver.consents, site: ""},
            {**driver.consents, site: consent_of(driver.context, pki, site, consents=False)},
            {**driver.consents, site: "01" + consent_of(driver.context, pki, site, consents=False)[2:]},
            {**driver.consents, site: driver.consents[other]},
            {**driver.consents, site: consent_of(driver.context, pki, site, job_id="an earlier job")},
        ]
        for consents in bad:
            with pytest.raises(ProtocolError):
                self.ask(driver, consents)
        assert self.ask(driver, driver.consents).kind is ReplyKind.MODEL

    def test_a_site_whose_policy_keeps_the_model_does_not_give_it(self, tmp_path: Path, pki: Pki) -> None:
        driver = Driver(make_context(tmp_path / "site", pki, RELEASE_ONLY, release_final_model=False))
        consent = driver.introduce().body[:CONSENT_BYTES]
        assert consent[0] == 0
        driver.prove()
        driver.cosign()
        driver.release()
        forged = {site: consent_of(driver.context, pki, site) for site in PAIR}
        with pytest.raises(ProtocolError, match="this site is not to give the model"):
            self.ask(driver, forged)

    def test_a_site_that_did_not_contribute_does_not_give_it(self, tmp_path: Path, pki: Pki) -> None:
        once = TRAIN_ONLY.model_copy(update={"rounds": 1})
        driver = Driver(make_context(tmp_path / "site", pki, once))
        driver.set_up()
        driver.train(1)
        others = ("hungary", "switzerland")
        consents = {site: consent_of(driver.context, pki, site) for site in SITES}
        with pytest.raises(ProtocolError, match="this site is not to give the model"):
            driver.job.answer(header("model", 2, others, consents), driver.total())

    def test_a_model_that_nobody_trained_needs_the_sites_own_consent(self, tmp_path: Path, pki: Pki) -> None:
        driver = Driver(make_context(tmp_path / "site", pki, RELEASE_ONLY))
        driver.set_up()
        driver.release()
        with pytest.raises(ProtocolError, match="does not consent"):
            self.ask(driver, {"hungary": consent_of(driver.context, pki, "hungary")})
        model = self.ask(driver, {"cleveland": consent_of(driver.context, pki, "cleveland")})
        assert model.body == b"\0" * 8 * DIMENSION


def test_the_set_up_signs_what_the_policy_says(context: JobContext) -> None:
    sealed = Driver(context).introduce()
    assert (sealed.kind, sealed.round, sealed.step) == (ReplyKind.SETUP, 0, "")
    verify_consent(
        sealed.body[:CONSENT_BYTES], context.site.roster, "cleveland", context.envelope_digest, context.job_id
    )


def test_the_release_is_of_the_final_weights(drive: Callable[..., Driver], monkeypatch: pytest.MonkeyPatch) -> None:
    from almoner.flare.training import job as training_job
    from almoner.flare.training import local_work

    driver = drive("trained 2")
    counted: list[tuple[int, int, float]] = []
    noised = training_job.release_accuracy
    monkeypatch.setattr(training_job, "release_accuracy", lambda *args: counted.append(args) or noised(*args))
    at: list[bytes] = []
    labels = local_work.correct_labels
    monkeypatch.setattr(local_work, "correct_labels", lambda *args: at.append(args[1].tobytes()) or labels(*args))
    driver.release()
    [(correct, wrong, epsilon)] = counted
    assert correct + wrong == 6
    assert epsilon == 0.1
    assert at == [driver.job._model.weights.tobytes()]


@pytest.mark.parametrize("consents", [{"cleveland": "zz"}, {"cleveland": "0"}])
def test_consents_that_are_no_hexadecimal_cannot_be_sent(consents: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="should match pattern"):
        TaskHeader(kind="model", round=3, contributors=(), ring=(), consents=consents)


def test_tasks_that_fail_raise_our_own_errors_only(context: JobContext) -> None:
    driver = Driver(replace(context))
    for task in TASKS[1:]:
        with pytest.raises(AlmonerError):
            carry_out(driver, task, "new")
