"""Whole requests for statistics under both trust models: what opens, what is charged, what is told again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flare_cases import SITES, Pki, envelope, header
from hospital_cases import DISTRIBUTED, LOCAL, SIZES, SPECS, Hospitals, admitted, hospitals, make_site, write_data

from almoner.errors import FederationError, LedgerError, ProtocolError
from almoner.flare.components.filters import check_budget
from almoner.flare.job.sealed import Sealed
from almoner.flare.job.wire import ReplyKind, TaskHeader
from almoner.flare.phases.site_job import State
from almoner.flare.site.dataset_commitments import commit_site_data
from almoner.flare.site.release_store import find_release, release_key
from almoner.flare.statistics.context import StatisticsContext
from almoner.flare.statistics.job import StatisticsJob
from almoner.flare.statistics.run import StatisticsRun
from almoner.privacy.distributed_noise import shared_noise
from almoner.privacy.ledger import Ledger
from almoner.privacy.plan import JobPlan
from almoner.privacy.plans import plan_of
from almoner.release.tally import exact_cells

Make = Callable[..., tuple[StatisticsRun, Hospitals]]


@pytest.fixture
def run(tmp_path: Path, pki: Pki) -> Make:
    return lambda trust, **hooks: hospitals(tmp_path / trust, pki, SPECS[trust], **hooks)


def spent(members: Hospitals, site: str) -> float:
    """Return what a site's account has committed, in RDP at its order."""
    with members.contexts[site].site.ledger() as ledger:
        (account,) = ledger.accounts()
        return account.rdp_committed


def charge(members: Hospitals, site: str) -> float:
    context = members.contexts[site]
    with context.site.ledger() as ledger:
        (account,) = ledger.accounts()
        return plan_of(context.spec, len(SITES)).charge(account.filter.order)


def exact(members: Hospitals, site: str) -> np.ndarray:
    return exact_cells(members.contexts[site].data_path, members.contexts[site].spec)


@pytest.mark.parametrize("repeat", [False, True], ids=["once", "every task twice"])
@pytest.mark.parametrize("trust", SPECS)
def test_every_site_is_charged_what_the_plan_says_once(trust: str, repeat: bool, run: Make) -> None:
    job, members = run(trust, repeat=repeat)
    result = job.run(SITES)
    assert members.errors == []
    assert {spent(members, site) for site in SITES} == {charge(members, SITES[0])}
    assert result.statistics is not None
    assert set(result.statistics.answers()) == {*(SITES if trust == "local" else ()), "all sites"}


def test_each_site_tells_its_own_numbers_and_they_add_up(run: Make) -> None:
    """Every count's interval at confidence 1 - 1e-9: a false alarm in 10^7 runs."""
    job, members = run("local")
    result = job.run(SITES).statistics
    assert result is not None
    assert set(result.by_site) == set(SITES)
    sigma = 1 / np.sqrt(2 * 0.4 * 0.0279)  # largest_rho(1, 1e-4) = 0.0279..., 40 % of it
    for site, size in SIZES.items():
        assert abs(result.by_site[site][0] - size) < 7 * sigma
        with members.contexts[site].site.ledger() as ledger:
            assert (
                find_release(members.contexts[site].site, ledger, LOCAL, members.contexts[site].stored_as) is not None
            )
    everybody = result.answers()["all sites"]
    count = next(answer for answer in everybody if answer.query == "patients")
    assert count.value == sum(cells[0] for cells in result.by_site.values())
    assert count.upper - count.lower > 2 * sigma, "the sum has the noise of all four"


def test_only_the_noised_total_opens(run: Make) -> None:
    job, members = run("distributed")
    result = job.run(SITES).statistics
    assert result is not None
    assert result.by_site == {}
    assert result.contributors == SITES
    assert result.total == tuple(sum(values.tolist()[k] for values in members.sent.values()) for k in range(5))
    for site in SITES:
        drawn = members.sent[site] - exact(members, site)
        assert drawn.any(), "each site adds noise of its own"
        message = members.replies["train", site].body
        assert members.sent[site].astype("<u8").tobytes() not in message
    (events,) = (step.events for step in plan_of(DISTRIBUTED, 4).steps)
    assert all("2 of 4 sites keep their noise" in event.assumption for event in events)


@pytest.mark.threat("T-72")
def test_the_ledger_names_the_assumption(run: Make) -> None:
    job, members = run("distributed")
    job.run(SITES)
    with members.contexts[SITES[0]].site.ledger() as ledger:
        committed = [entry.payload for entry in ledger.entries() if entry.kind == "committed"]
    assert len(committed) == 1
    assert "2 of 4 sites keep their noise, 1 may not" in committed[0]


@pytest.mark.parametrize("moment", ["train", "acknowledge", "reveal"])
def test_a_site_that_drops_out_does_not_spoil_the_total(moment: str, run: Make) -> None:
    job, members = run("distributed", lost=lambda site, task: site == SITES[1] and task.kind == moment)
    result = job.run(SITES).statistics
    assert result is not None
    gone = {SITES[1]} if moment == "train" else set()
    assert set(result.contributors) == set(SITES) - gone
    assert result.total[0] == sum(int(members.sent[site][0]) for site in result.contributors)
    assert set(result.answers()) == {f"3 of 4 sites, without {SITES[1]}" if gone else "all sites"}
    assert spent(members, SITES[1]) == charge(members, SITES[1]), "its contribution left: the charge stays"


def test_a_sum_without_a_site_says_so(run: Make) -> None:
    job, _ = run("local", lost=lambda site, task: site == SITES[2] and task.kind == "statistics")
    result = job.run(SITES).statistics
    assert result is not None
    present = [site for site in SITES if site != SITES[2]]
    assert list(result.answers()) == [*present, f"3 of 4 sites, without {SITES[2]}"]


@pytest.mark.threat("T-70")
def test_a_round_that_dies_keeps_its_charge_and_is_not_run_again(run: Make) -> None:
    job, members = run("distributed", lost=lambda site, task: task.kind == "acknowledge")
    with pytest.raises(FederationError, match="acknowledge"):
        job.run(SITES)
    assert all(spent(members, site) == charge(members, site) for site in SITES)
    again = header("train", 1, ring=SITES)
    with pytest.raises(ProtocolError):
        members.jobs[SITES[0]].answer(again, b"")


@pytest.mark.threat("T-70")
@pytest.mark.parametrize("number", [1, 2])
def test_there_is_no_second_round_for_one_charge(number: int, run: Make) -> None:
    """A lying server announces another ring, or a second round, after the first: nothing is drawn or sent again."""
    announced: dict[str, bytes] = {}

    def notes(site: str, task: TaskHeader) -> bool:
        return False

    job, members = run("distributed", lost=notes)
    ask = members.ask

    def keep(task: TaskHeader, body: bytes, *others: Any) -> Any:
        if task.kind == "train":
            announced["body"] = body
        return ask(task, body, *others)

    job.ask = keep
    job.run(SITES)
    before = dict(members.sent)
    task = TaskHeader(kind="train", round=number, contributors=(), ring=SITES, consents={})
    for site in SITES:
        with pytest.raises(ProtocolError):
            members.jobs[site].answer(task, announced["body"])
        assert members.sent[site] is before[site]
        assert spent(members, site) == charge(members, site)


def test_the_noise_is_drawn_once_whatever_is_delivered_twice(run: Make) -> None:
    job, members = run("distributed", repeat=True)
    drawn: dict[str, list[bytes]] = {}
    reply = members.reply

    def watch(site: str, task: TaskHeader, body: bytes) -> Any:
        said = reply(site, task, body)
        if task.kind == "train":
            drawn.setdefault(site, []).append(members.sent[site].tobytes())
        return said

    members.reply = watch  # type: ignore[method-assign]
    job.run(SITES)
    assert {len(values) for values in drawn.values()} == {2}
    assert all(len(set(values)) == 1 for values in drawn.values())


def test_data_is_touched_after_the_commit_alone(run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from almoner.flare.statistics import job as statistics_job

    job, members = run("distributed")
    seen: list[float] = []
    tally = statistics_job.exact_cells

    def watched(path: Path, spec: Any) -> np.ndarray:
        site = next(site for site in SITES if site in path.parts)
        seen.append(spent(members, site))
        return tally(path, spec)

    monkeypatch.setattr(statistics_job, "exact_cells", watched)
    job.run(SITES)
    assert seen == [charge(members, SITES[0])] * 4


@pytest.mark.parametrize("trust", SPECS)
def test_a_step_that_the_ledger_refuses_touches_nothing(trust: str, run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from almoner.flare.statistics import job as statistics_job

    def touched(*arguments: Any) -> np.ndarray:
        raise AssertionError("the data was touched")

    monkeypatch.setattr(statistics_job, "exact_cells", touched)
    monkeypatch.setattr(statistics_job, "run_statistics", touched)
    job, members = run(trust)
    for context in members.contexts.values():
        with context.site.ledger() as ledger:
            ledger.abandon(context.job_id, "a test")
    with pytest.raises(FederationError):
        job.run(SITES)
    assert members.errors


@pytest.mark.threat("T-70")
class TestNoSecondDraw:
    """A process that forgot what it answered is asked again; averaged, two draws would be a quieter one."""

    @pytest.fixture
    def context(self, tmp_path: Path, pki: Pki) -> StatisticsContext:
        files = make_site(tmp_path, pki, SITES[0])
        admitted(files, envelope(LOCAL, nonce="ab" * 16))  # else the account would not hold a second commit
        return admitted(files, envelope(LOCAL))

    @staticmethod
    def draw(context: StatisticsContext) -> Sealed:
        """Have a new process answer; set-up is not what is tested."""
        job = StatisticsJob(context)
        job._state = State.READY
        return job.answer(header("statistics", 1), b"")

    def test_one_charge_is_good_for_one_draw(self, context: StatisticsContext) -> None:
        self.draw(context)
        with pytest.raises(LedgerError, match="step statistics was committed already"):
            self.draw(context)

    def test_of_two_draws_one_leaves(self, context: StatisticsContext, monkeypatch: pytest.MonkeyPatch) -> None:
        check_budget(self.draw(context), context)
        monkeypatch.setattr(Ledger, "commit", lambda self, job_id, step: None)
        second = self.draw(context)
        with pytest.raises(LedgerError, match="released another result before"):
            check_budget(second, context)


class TestTheSameAgain:
    """A request that was answered before gets the same numbers for nothing; see `release_store`."""

    @pytest.fixture
    def told(self, tmp_path: Path, pki: Pki) -> tuple[Any, Sealed]:
        """Return a site, and what it told."""
        files = make_site(tmp_path, pki, SITES[0])
        context = admitted(files, envelope(LOCAL))
        return files, self.answer(StatisticsJob(context), context)

    @staticmethod
    def answer(job: StatisticsJob, context: Any) -> Sealed:
        job._state = State.READY  # set-up is not what is tested
        return check_budget(job.answer(header("statistics", 1), b""), context)

    def again(self, files: Any, name: str = "another-name") -> tuple[StatisticsJob, Any]:
        made = envelope(LOCAL.model_copy(update={"name": name}), nonce="ab" * 16)
        context = admitted(files, made, JobPlan(0.0, ()))
        return StatisticsJob(context), context

    def test_the_numbers_are_those_that_were_told(self, told: tuple[Any, Sealed]) -> None:
        files, first = told
        job, context = self.again(files)
        sealed = self.answer(job, context)
        assert sealed.body == first.body
        with files.ledger() as ledger:
            (account,) = ledger.accounts()
            assert account.rdp_spent == plan_of(LOCAL, 4).charge(account.filter.order), "charged once"

    @pytest.mark.threat("T-51")
    def test_a_file_that_was_written_since_changes_nothing(self, told: tuple[Any, Sealed]) -> None:
        files, first = told
        write_data(files.folder / files.config.datasets["cardiology"].path, 7)
        job, context = self.again(files)
        assert self.answer(job, context).body == first.body

    @pytest.mark.threat("T-51")
    @pytest.mark.parametrize("num_joined", [0, 1])
    def test_what_was_committed_to_again_is_not_told_for_nothing(
        self, told: tuple[Any, Sealed], num_joined: int
    ) -> None:
        files, _ = told
        write_data(files.folder / files.config.datasets["cardiology"].path, SIZES[SITES[0]] + num_joined)
        commit_site_data(files)
        job, context = self.again(files)
        with pytest.raises(ProtocolError, match="committed to its data since"):
            self.answer(job, context)

    def test_numbers_are_kept_by_the_version_of_before_the_charge(self, tmp_path: Path, pki: Pki) -> None:
        files = make_site(tmp_path, pki, SITES[0])
        context = admitted(files, envelope(LOCAL))
        commit_site_data(files)
        self.answer(StatisticsJob(context), context)
        with files.ledger() as ledger:
            assert find_release(files, ledger, LOCAL, context.stored_as) is not None
            assert find_release(files, ledger, LOCAL, release_key(files, LOCAL)) is None

    @pytest.mark.threat("T-71")
    def test_a_release_that_was_laid_there_is_not_told(self, told: tuple[Any, Sealed]) -> None:
        files, _ = told
        job, context = self.again(files)
        (path,) = (files.ledger_folder / "releases").glob("*.json")
        path.write_text(path.read_text().replace('"cells":[', '"cells":[1', 1))
        with pytest.raises(LedgerError):
            self.answer(job, context)

    @pytest.mark.threat("T-71")
    def test_a_release_of_another_request_of_as_many_cells_is_not_told(self, told: tuple[Any, Sealed]) -> None:
        """A genuine release, laid where the other request looks."""
        files, _ = told
        other = LOCAL.model_copy(update={"purpose": "another"})
        (path,) = (files.ledger_folder / "releases").glob("*.json")
        path.rename(path.with_name(f"{release_key(files, other)}.json"))
        context = admitted(files, envelope(other, nonce="ab" * 16), JobPlan(0.0, ()))
        with pytest.raises(LedgerError, match="of another request"):
            self.answer(StatisticsJob(context), context)


def test_lengths_are_fixed(run: Make) -> None:
    for trust, kind in (("local", ReplyKind.STATISTICS), ("distributed", ReplyKind.TOTAL)):
        job, members = run(trust)
        job.run(SITES)
        task = "statistics" if trust == "local" else "total"
        lengths = {len(members.replies[task, site].body) for site in SITES}
        assert lengths == {8 * 5 + 328 * (trust == "local") + 256}
        assert {members.replies[task, site].kind for site in SITES} == {kind}


def test_a_total_that_few_sites_open_alike_is_none(run: Make) -> None:
    def forge(site: str, task: TaskHeader) -> bool:
        return task.kind == "total" and site in SITES[:2]

    job, _ = run("distributed", lost=forge)
    with pytest.raises(FederationError, match="fewer than 3 sites opened the same"):
        job.run(SITES)


def test_shares_are_as_large_as_the_threshold_demands() -> None:
    (first, *_) = shared_noise(DISTRIBUTED, 4)
    assert first.num_shares == 2
    assert first.site_sigma == pytest.approx(first.sigma / np.sqrt(2))
    assert replace(first, num_shares=3).sigma > first.sigma
