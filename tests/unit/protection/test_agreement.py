"""The agreement as a state machine: who stays, what all then share, and which question may follow which."""

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from protection_cases import (
    CONCLUDED,
    DEALT,
    DEALT_BYTES,
    SITES,
    TERMS,
    Network,
    agreement,
    careless_server,
    key_pem,
    network,
)

from almoner.errors import FederationError, ProtocolError
from almoner.protection.agreement import Agreed, SiteAgreement
from almoner.protection.agreement_states import Ended, New
from almoner.protection.meeting import (
    AGREEMENT_BYTES,
    _confirmed,
    confirmation_bytes,
    read_agreement,
    verify_confirmation,
)
from almoner.protection.scheme import Question
from almoner.protection.set_up import ED25519_BYTES, SET_UP_BYTES, transcript

TASKS = ("keys", "confirm", "agree", "conclude")
slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("dealt", [False, True])
def test_all_share_the_same(dealt: bool) -> None:
    net = network(dealt=dealt)
    result = net.run()
    held = list(net.agreed.values())
    assert result.members == tuple(net.agreed) == SITES
    assert result.answers == dict.fromkeys(SITES, CONCLUDED)
    assert {agreed.members for agreed in held} == {SITES}
    assert len({agreed.tag_key for agreed in held}) == 1
    assert {len(agreed.tag_key) for agreed in held} == {32}
    assert {agreed.dealt for agreed in held} == {DEALT if dealt else b""}
    assert {agreed.transcript for agreed in held} == {transcript(TERMS, SITES, result.set_up_messages)}
    for agreed in held:
        assert agreed.keys.public == agreed.public_keys[agreed.site] == held[0].public_keys[agreed.site]
        assert agreed.index("cyd") == 3


def test_two_jobs_share_nothing() -> None:
    one, other = network(), network()
    one.run()
    other.run()
    assert one.agreed["ada"].tag_key != other.agreed["ada"].tag_key
    assert one.agreed["ada"].keys.public.exchange != other.agreed["ada"].keys.public.exchange


def test_first_present_site_alone_deals() -> None:
    dealt_by: list[str] = []

    def deals(site: str) -> Any:
        return lambda: dealt_by.append(site) or DEALT

    net = Network({site: agreement(site, deal=deals(site), dealt_bytes=DEALT_BYTES) for site in SITES[1:]})
    net.run()
    assert dealt_by == ["bob"]
    lengths = net.asked[1].answer_bytes
    assert {site: lengths[site] - lengths["cyd"] for site in lengths} == {"bob": 48, "cyd": 0, "dan": 0, "eve": 0}


def test_lengths_are_as_announced() -> None:
    net = network(dealt=True)
    seen: list[tuple[str, str, int, int]] = []

    def hear(question: Question, site: str, said: bytes) -> bytes:
        if question.task != "conclude":
            seen.append((question.task, site, len(said), net.machines[site].answer_bytes(question.task)))
        return said

    net.hear = hear
    net.run()
    assert len(seen) == 15
    assert all(length == announced for _, _, length, announced in seen)
    assert {length for task, _, length, _ in seen if task == "keys"} == {SET_UP_BYTES} == {352}
    assert {length for task, _, length, _ in seen if task == "agree"} == {AGREEMENT_BYTES} == {96}
    assert sorted({length for task, _, length, _ in seen if task == "confirm"}) == [64 + 5 * 48, 64 + 5 * 48 + 48]


@slow
@given(st.lists(st.sampled_from(TASKS), min_size=5, max_size=5))
def test_any_dropouts(last_answers: list[str]) -> None:
    """Each site falls silent before one of the questions; what is left of the job is consistent, or ends."""
    gone_at = dict(zip(SITES, last_answers, strict=True))

    def show(question: Question, site: str) -> Any:
        silent = site != "ada" and TASKS.index(question.task) >= TASKS.index(gone_at[site]) > 0
        return None if silent else (question.contributors, question.body)

    net = network(show=show)
    staying = [site for site in SITES if site == "ada" or gone_at[site] == "keys"]
    if len(staying) < TERMS.quorum:
        with pytest.raises(FederationError, match="of at least 4 sites answered; the job ends here"):
            net.run()
        return
    result = net.run()
    assert list(result.members) == staying == list(net.agreed)
    assert len({agreed.tag_key for agreed in net.agreed.values()}) == 1
    assert all(set(staying) <= set(agreed.members) for agreed in net.agreed.values())


@pytest.mark.parametrize("task", TASKS[1:])
def test_a_job_whose_dealer_is_gone(task: str) -> None:
    """Once the dealer dealt it may go; before that the job ends."""
    net = network(dealt=True)
    net.show = lambda question, site: (
        None
        if site == "ada" and TASKS.index(question.task) >= TASKS.index(task)
        else (question.contributors, question.body)
    )
    if task == "confirm":
        with pytest.raises(FederationError, match="ada did not deal the job's secret"):
            net.run()
    else:
        assert net.run().members == SITES[1:]
        assert {agreed.dealt for agreed in net.agreed.values()} == {DEALT}


def test_sites_refuse_members_without_the_dealer() -> None:
    net = network(dealt=True)

    def show(question: Question, site: str) -> Any:
        if question.task != "agree":
            return question.contributors, question.body
        return SITES[1:], question.body[confirmation_bytes(TERMS, DEALT_BYTES, is_dealer=True) :]

    net.show = show
    with pytest.raises(FederationError):
        net.run()
    assert all("ada, which deals the job's secret" in str(net.errors[site]) for site in SITES[1:])


Call = tuple[tuple[str, ...], bytes]


def put(machine: SiteAgreement, task: str, call: Call) -> Any:
    if task == "keys":
        return machine.keys()
    return {"confirm": machine.confirm, "agree": machine.agree, "conclude": machine.conclude}[task](*call)


def until(steps: int) -> tuple[SiteAgreement, dict[str, Call]]:
    """Return cyd's machine after so many questions, and the questions of its job."""
    machine = agreement("cyd")
    net = network()
    net.machines["cyd"] = machine
    net.show = lambda question, site: (
        None if site == "cyd" and TASKS.index(question.task) >= steps else (question.contributors, question.body)
    )
    calls = {}
    try:
        net.run(careless_server())
    finally:
        for question in net.asked:
            calls[question.task] = (question.contributors, question.body)
    return machine, calls


PAIRS = list(itertools.product(range(5), TASKS))


@pytest.mark.parametrize(("steps", "task"), PAIRS)
def test_every_pair_of_state_and_question(steps: int, task: str) -> None:
    """The next question moves on, the last one again says the same again, every other ends the job."""
    machine, calls = until(steps)
    due, last = TASKS[steps : steps + 1], TASKS[:steps][-1:]
    if task in last:
        assert put(machine, task, calls[task]) is put(machine, task, calls[task])
        assert not isinstance(machine._state, Ended)
    elif task in due and task == "keys":
        assert len(put(machine, task, ((), b""))) == SET_UP_BYTES
    elif task in due:
        moved_on = put(machine, task, calls[task])
        assert isinstance(moved_on, Agreed if task == "conclude" else bytes)
    else:
        with pytest.raises(ProtocolError, match=f"{task} is not asked now, or not like this"):
            put(machine, task, calls.get(task, (SITES, b"")))
        assert isinstance(machine._state, Ended)


@pytest.mark.parametrize(("steps", "task"), [(steps, TASKS[steps - 1]) for steps in (2, 3, 4)])
def test_the_last_question_with_other_words(steps: int, task: str) -> None:
    for other in (
        lambda contributors, body: (contributors, body[:-1] + bytes([body[-1] ^ 1])),
        lambda contributors, body: (contributors[:-1], body),
        lambda contributors, body: (contributors, body + b"\0"),
    ):
        machine, calls = until(steps)
        with pytest.raises(ProtocolError, match="not asked now, or not like this"):
            put(machine, task, other(*calls[task]))
        assert isinstance(machine._state, Ended)


@pytest.mark.parametrize("steps", range(5))
def test_after_the_end_nothing_is_answered(steps: int) -> None:
    machine, calls = until(steps)
    machine.close()
    for task in TASKS:
        with pytest.raises(ProtocolError, match="not asked now"):
            put(machine, task, calls.get(task, (SITES, b"")))
    assert vars(machine._state) == {}


@slow
@given(st.data())
def test_any_changed_byte_ends_the_job(data: st.DataObject) -> None:
    task = data.draw(st.sampled_from(TASKS[1:]))
    position, change = data.draw(st.integers(0, 10_000)), data.draw(st.integers(1, 255))

    def show(question: Question, site: str) -> Any:
        if question.task != task or site != "cyd":
            return question.contributors, question.body
        body = bytearray(question.body)
        body[position % len(body)] ^= change
        return question.contributors, bytes(body)

    net = network(show=show, dealt=data.draw(st.booleans()))
    net.run()
    assert list(net.errors) == ["cyd"]
    assert "cyd" not in net.agreed
    assert isinstance(net.machines["cyd"]._state, Ended)


@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize("change", [lambda body: body + b"\0", lambda body: body[:-1], lambda body: b""])
def test_a_body_of_another_length_ends_the_job(task: str, change: Any) -> None:
    net = network(
        show=lambda question, site: (
            question.contributors,
            change(question.body) if (question.task, site) == (task, "cyd") else question.body,
        )
    )
    net.run()
    assert " bytes, expected " in str(net.errors["cyd"])
    assert isinstance(net.machines["cyd"]._state, Ended)


@slow
@given(st.lists(st.sampled_from(TASKS), max_size=9))
@example([*TASKS])
@example([task for task in TASKS for _ in range(2)])
@example(["keys", "confirm", "agree", "agree", "keys"])
@example(["keys", "confirm", "conclude"])
def test_agreed_is_reached_on_one_way_only(order: list[str]) -> None:
    """Whatever the order of honest questions, only the whole row of them, each once or repeated, comes to an end."""
    machine, peers = agreement("cyd"), network(SITES)
    peers.machines["cyd"] = machine
    talk: dict[str, Call] = {"keys": ((), b"")}
    server, question = careless_server(), None
    alive, at = True, -1
    question = next(server)
    for task in order:
        step = TASKS.index(task)
        allowed = alive and step in (at, at + 1) and step >= 0 and task in talk
        if not allowed:
            if task in talk or task == "keys":
                with pytest.raises(ProtocolError):
                    put(machine, task, talk.get(task, ((), b"")))
            else:
                with pytest.raises(ProtocolError):
                    put(machine, task, (SITES, b""))
            alive = False
            continue
        said = put(machine, task, talk[task])
        if step == at + 1 and step < 3:
            at = step
            answers = {site: peers.tell(site, question, *talk[task]) for site in SITES if site != "cyd"}
            question = server.send({site: said if site == "cyd" else answers[site] for site in SITES})
            talk[question.task] = (question.contributors, question.body)
        elif step == at + 1:
            at = step
            assert isinstance(said, Agreed)
    assert isinstance(machine._state, Ended) == (not alive)
    assert isinstance(machine._state, Agreed) == (alive and at == 3)


def test_constructor_refusals() -> None:
    with pytest.raises(ProtocolError, match="zoe is no site of the job"):
        agreement("zoe", private_key_pem=key_pem("ada"))
    for changes in ({"deal": lambda: b""}, {"dealt_bytes": 3}):
        with pytest.raises(ProtocolError, match="a secret without a length"):
            agreement("ada", **changes)
    assert isinstance(agreement("ada")._state, New)


def test_a_secret_of_another_length_is_not_dealt() -> None:
    net = network(dealt=True)
    net.machines["ada"] = agreement("ada", deal=lambda: b"short", dealt_bytes=DEALT_BYTES)
    with pytest.raises(FederationError, match="ada did not deal"):
        net.run()
    assert "the secret has 5 bytes" in str(net.errors["ada"])


def test_a_signed_confirmation_of_another_length() -> None:
    """Its own signer could otherwise shift what is read as whose box."""
    machine, _ = until(2)
    state = machine._state
    verify_confirmation(state.meeting, "cyd", state.said)
    for content in (state.said[ED25519_BYTES:] + b"\0", state.said[ED25519_BYTES:-1], b""):
        longer = state.keys.sign(_confirmed(state.meeting, "cyd", content)) + content
        with pytest.raises(ProtocolError, match=f"confirmation of cyd: {len(longer)} bytes"):
            verify_confirmation(state.meeting, "cyd", longer)


@pytest.mark.parametrize("said", [b"", bytes(95), bytes(97)])
def test_an_agreement_of_another_length(said: bytes) -> None:
    machine, _ = until(2)
    with pytest.raises(ProtocolError, match=f"agreement of cyd: {len(said)} bytes"):
        read_agreement(machine._state.meeting, "cyd", said)
