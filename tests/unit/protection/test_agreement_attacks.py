"""A lying server, alone or in league with one site, against honest sites that agree on keys.

Each attack is carried out twice: as the code stands, where the honest sites end the job; and with the one check off
that stands against it, where the attacker gets what it is after.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from protection_cases import (
    DEALT,
    DEALT_BYTES,
    SITES,
    TERMS,
    Network,
    agreement,
    careless_server,
    key_pem,
    network,
    rsa_key,
)

from almoner.protection import agreement as agreement_module
from almoner.protection import meeting, set_up
from almoner.protection.agreement import SiteAgreement
from almoner.protection.agreement_states import Confirmed, Ended, Shown
from almoner.protection.meeting import SHARE_BYTES, Meeting
from almoner.protection.scheme import Question
from almoner.protection.set_up import (
    DIGEST_BYTES,
    ED25519_BYTES,
    SET_UP_BYTES,
    SIGNED_BYTES,
    JobKeys,
    JobTerms,
    statement,
)

pytestmark = pytest.mark.threat("T-35")

HONEST = ("ada", "cyd", "dan", "eve")
Patch = pytest.MonkeyPatch
Said = tuple[tuple[str, ...], bytes]


def with_impostor(key: str, terms: JobTerms = TERMS) -> Network:
    """Put a party at bob's place that does all as bob would, with keys of its own signed by another RSA key."""
    net = network()
    impostor = agreement("bob", terms=terms, private_key_pem=key_pem(key))
    impostor._certificate_keys = {**impostor._certificate_keys, "bob": rsa_key(key).public_key()}
    net.machines["bob"] = impostor
    return net


def all_end(net: Network, sites: tuple[str, ...], text: str) -> None:
    for site in sites:
        assert text in str(net.errors.get(site))
        assert isinstance(net.machines[site]._state, Ended)
        assert site not in net.agreed


@pytest.mark.parametrize("key", ["server", "lead@ada.example", "eve", "not of this consortium"])
def test_swapped_keys(key: str, monkeypatch: Patch) -> None:
    """The server shows keys of its own as bob's, signed with the best key it can get; a colluding site's, say."""
    net = with_impostor(key)
    net.run(careless_server())
    all_end(net, HONEST, "set-up of bob: not signed with its certificate's key")

    monkeypatch.setattr(set_up, "verify_with", lambda key, signature, stated: None)
    net = with_impostor(key)
    net.run(careless_server())
    assert net.agreed["bob"].tag_key == net.agreed["ada"].tag_key  # the server holds it now


def test_keys_swapped_in_a_signed_message(monkeypatch: Patch) -> None:
    """The server leaves bob's signature and puts its own keys before it."""
    own, opened = JobKeys.generate(), []

    def hear(question: Question, site: str, said: bytes) -> bytes:
        if (question.task, site) == ("keys", "bob"):
            return said[:DIGEST_BYTES] + own.public.exchange + own.public.signing + said[SIGNED_BYTES:]
        if (question.task, site) == ("confirm", "ada"):
            state = net.machines["ada"]._state
            opened.append((meeting.open_share(state.meeting, "ada", said, "bob", own), state.share))
        return said

    net = network(hear=hear)
    net.run(careless_server())
    all_end(net, HONEST, "set-up of bob: not signed with its certificate's key")
    all_end(net, ("bob",), "this is not what bob said")
    assert not opened

    monkeypatch.setattr(set_up, "_stated", lambda terms, site, public: statement(b"", terms.digest(), 0, site))
    net = network(hear=hear)
    net.run(careless_server())
    [(read_by_the_server, share_of_ada)] = opened
    assert read_by_the_server == share_of_ada


def show_in(task: str, site: str, change: Callable[[Said], Said]) -> Callable[[Question, str], Said]:
    """Show one site something else at one question."""

    def show(question: Question, asked: str) -> Said:
        said = question.contributors, question.body
        return change(said) if (question.task, asked) == (task, site) else said

    return show


def without_last(length: int) -> Callable[[Said], Said]:
    return lambda said: (said[0][:-1], said[1][:-length])


def test_split_presence(monkeypatch: Patch) -> None:
    """Cyd is shown four sites, the others five."""
    show = show_in("confirm", "cyd", without_last(SET_UP_BYTES))
    net = network(show=show)
    net.run(careless_server())
    all_end(net, ("ada", "bob", "dan", "eve"), "confirmation of cyd: the signature does not verify")
    all_end(net, ("cyd",), "who confirmed: not sites of the job")

    # If T did not hold who is present, the sites would conclude with different ideas of it.
    monkeypatch.setattr(meeting, "transcript", lambda terms, present, messages: terms.digest())

    def show_four(question: Question, site: str) -> Said:
        said = question.contributors, question.body
        if question.task == "agree":
            return without_last(64 + 5 * 48)(said)
        return show(question, site)

    net = network(show=show_four)
    net.run(careless_server())
    assert set(net.agreed["ada"].public_keys) != set(net.agreed["cyd"].public_keys)


def test_split_confirmers(monkeypatch: Patch) -> None:
    """Cyd is told that four sites confirmed, the others are told of five; cyd's tags would be void for them."""
    show = show_in("agree", "cyd", without_last(64 + 5 * 48))
    net = network(show=show)
    net.run(careless_server())
    all_end(net, ("ada", "bob", "dan", "eve"), "cyd was told something else than")
    assert "cyd" not in net.agreed

    monkeypatch.setattr(agreement_module, "shared_digest", lambda *shared: bytes(DIGEST_BYTES))

    def show_four(question: Question, site: str) -> Said:
        said = question.contributors, question.body
        if question.task == "conclude":
            return without_last(96)(said)
        return show(question, site)

    net = network(show=show_four)
    net.run(careless_server())
    assert net.agreed["cyd"].tag_key != net.agreed["ada"].tag_key


def test_split_agreers() -> None:
    """Different sites may be shown different concluding members: none hold other secrets, all that are shown agreed.

    Who takes part in a round is agreed upon anew, by that round's signatures.
    """
    net = network(show=show_in("conclude", "cyd", without_last(96)), dealt=True)
    net.run(careless_server(dealt_bytes=DEALT_BYTES))
    assert net.agreed["cyd"].members == SITES[:4]
    assert net.agreed["ada"].members == SITES
    held = {(agreed.transcript, agreed.tag_key, agreed.dealt) for agreed in net.agreed.values()}
    assert len(held) == 1


@pytest.mark.parametrize("task", ["confirm", "agree", "conclude"])
def test_too_few(task: str, monkeypatch: Patch) -> None:
    """The server shows cyd fewer sites than the threshold, to have it take part among sites that collude."""
    length = {"confirm": SET_UP_BYTES, "agree": 64 + 5 * 48, "conclude": 96}[task]
    few = show_in(task, "cyd", lambda said: (said[0][:3], said[1][: 3 * length]))
    net = network(show=few)
    net.run(careless_server())
    all_end(net, ("cyd",), "3 sites, at least 4 are needed")

    monkeypatch.setattr(JobTerms, "quorum", 3)
    net = network(show=few)
    net.run(careless_server())
    assert "are needed" not in str(net.errors.get("cyd"))


def test_a_member_that_never_agreed(monkeypatch: Patch) -> None:
    """To fill the number, the server puts a site into M' that has not signed, with another's answer."""
    silent = show_in("agree", "eve", lambda said: ((), b""))

    def show(question: Question, site: str) -> Said:
        contributors, body = silent(question, site)
        if question.task == "conclude":
            return (*contributors, "eve"), body + body[:96]
        return contributors, body

    net = network(show=show)
    net.run(careless_server())
    all_end(net, SITES[:4], "agreement of eve: the signature does not verify")

    monkeypatch.setattr(set_up.PublicKeys, "verify", lambda self, signature, stated, what: None)
    net = network(show=show)
    net.run(careless_server())
    assert net.agreed["ada"].members == SITES


def test_a_member_whose_share_is_not_in(monkeypatch: Patch) -> None:
    """Eve, cut off before M was fixed, is put into M' all the same; a colluding member told her what to sign."""
    keys: list[JobKeys] = []

    def show(question: Question, site: str) -> Said:
        contributors, body = question.contributors, question.body
        if question.task == "agree":
            keys.extend([net.machines["eve"]._state.keys] if site == "ada" else [])
            return without_last(64 + 5 * 48)((contributors, body))
        if question.task == "conclude":
            state = net.machines["ada"]._state if site == "ada" else ada[0]
            ada.append(state)
            return (*contributors, "eve"), body + meeting.make_agreement(state.meeting, "eve", keys[0], state.digest)
        return contributors, body

    ada: list[Any] = []
    net = network(show=show)
    net.run(careless_server())
    all_end(net, SITES[:4], "who agreed: not sites of the job")

    real = agreement_module.check_subset
    monkeypatch.setattr(
        agreement_module, "check_subset", lambda chosen, among, least, what: real(chosen, SITES, least, what)
    )
    keys.clear()
    ada.clear()
    net = network(show=show)
    net.run(careless_server())
    assert net.agreed["bob"].members == SITES


def test_what_the_secrets_depend_on() -> None:
    """Tag key and digest depend on everything that sites must hold alike; nothing is left to another check."""
    net = network()
    net.run(careless_server())
    at = Meeting(TERMS, SITES, net.agreed["ada"].public_keys, net.agreed["ada"].transcript, 0)
    other = dataclasses.replace(at, transcript=bytes(32))
    shares = dict.fromkeys(SITES, b"s" * 32)
    keys = [
        meeting.make_tag_key(at, SITES, shares),
        meeting.make_tag_key(other, SITES, shares),
        meeting.make_tag_key(at, SITES[:4], shares),
        meeting.make_tag_key(at, SITES[1:], shares),
        meeting.make_tag_key(at, SITES, {**shares, "eve": b"t" * 32}),
    ]
    assert len(set(keys)) == len(keys)
    digests = [
        meeting.shared_digest(at, SITES, b"k" * 32, b"d"),
        meeting.shared_digest(other, SITES, b"k" * 32, b"d"),
        meeting.shared_digest(at, SITES[1:], b"k" * 32, b"d"),
        meeting.shared_digest(at, SITES, b"l" * 32, b"d"),
        meeting.shared_digest(at, SITES, b"k" * 32, b"e"),
    ]
    assert len(set(digests)) == len(digests)


OLD_TERMS = dataclasses.replace(TERMS, nonce="f" * 32, job_id="6a1b1111-0000-4000-8000-00000000000f")


def test_replayed_set_up_of_another_job(monkeypatch: Patch) -> None:
    """Somebody holds the keys that bob drew for an old job, and shows the message that bob signed then."""

    def leaked() -> Network:
        net = network()
        net.machines["bob"] = agreement("bob", terms=OLD_TERMS)
        return net

    net = leaked()
    net.run(careless_server())
    all_end(net, HONEST, "set-up of bob: it is about other terms, or another job")

    monkeypatch.setattr(JobTerms, "digest", lambda self: bytes(DIGEST_BYTES))
    net = leaked()
    net.run(careless_server())
    assert net.agreed["bob"].tag_key == net.agreed["ada"].tag_key


def test_one_sites_keys_shown_twice(monkeypatch: Patch) -> None:
    """Eve shows bob's keys as her own, under her own certificate; the server told her of them."""
    bob: list[bytes] = []

    def hear(question: Question, site: str, said: bytes) -> bytes:
        if question.task == "keys" and site == "bob":
            bob.append(said)
        if question.task == "keys" and site == "eve":
            keys = bob[-1][DIGEST_BYTES:SIGNED_BYTES]
            public = set_up.PublicKeys(keys[:32], keys[32:])
            signature = set_up.sign(key_pem("eve"), set_up._stated(TERMS, "eve", public))
            return TERMS.digest() + keys + signature
        return said

    net = network(hear=hear)
    net.run(careless_server())
    all_end(net, SITES[:4], "one key is shown twice")

    monkeypatch.setattr(meeting, "set", list, raising=False)  # nothing is found twice in a list
    net = network(hear=hear)
    net.run(careless_server())
    assert all("shown twice" not in str(error) for error in net.errors.values())


class TwoFaced(SiteAgreement):
    """A member that gives bob another share than everybody else."""

    def _confirm(self, state: Shown, present: tuple[str, ...], body: bytes) -> Confirmed:
        honest = super()._confirm(state, present, body)
        content = bytearray(honest.said[ED25519_BYTES:])
        key = meeting._slot_key(honest.meeting, state.keys, "bob", self._site, "bob")
        start = meeting.SLOT_BYTES * (TERMS.index("bob") - 1)
        content[start : start + meeting.SLOT_BYTES] = key.seal(b"x" * SHARE_BYTES)
        said = state.keys.sign(meeting._confirmed(honest.meeting, self._site, bytes(content))) + bytes(content)
        return Confirmed(state.keys, honest.meeting, honest.share, honest.dealt, said)


def test_different_shares_for_different_sites(monkeypatch: Patch) -> None:
    """With another share bob would compute another tag key, and refuse every sum, or be fed one of his own."""

    def two_faced() -> Network:
        net = network()
        honest = net.machines["eve"]
        net.machines["eve"] = TwoFaced.__new__(TwoFaced)
        vars(net.machines["eve"]).update(vars(honest))
        return net

    net = two_faced()
    net.run(careless_server())
    all_end(net, ("bob",), "ada was told something else than bob")
    all_end(net, ("ada", "cyd", "dan"), "bob was told something else than")

    monkeypatch.setattr(agreement_module, "shared_digest", lambda *shared: bytes(DIGEST_BYTES))
    net = two_faced()
    net.run(careless_server())
    assert net.agreed["bob"].tag_key != net.agreed["ada"].tag_key


def test_the_honest_server_goes_on_without_the_one_who_was_told_something_else() -> None:
    """One such share costs bob the job, not the others."""
    net = network()
    honest = net.machines["eve"]
    net.machines["eve"] = TwoFaced.__new__(TwoFaced)
    vars(net.machines["eve"]).update(vars(honest))
    assert net.run().members == ("ada", "cyd", "dan", "eve")
    assert set(net.agreed) == {"ada", "cyd", "dan", "eve"}


def swap_slots(said: bytes, one: str, other: str) -> bytes:
    content = bytearray(said)
    places = [ED25519_BYTES + 48 * (TERMS.index(site) - 1) for site in (one, other)]
    boxes = [content[place : place + 48] for place in places]
    for place, box in zip(places, reversed(boxes), strict=True):
        content[place : place + 48] = box
    return bytes(content)


def test_boxes_moved_between_receivers(monkeypatch: Patch) -> None:
    """The server hands bob the box that eve sealed for cyd."""

    def hear(question: Question, site: str, said: bytes) -> bytes:
        return swap_slots(said, "bob", "cyd") if (question.task, site) == ("confirm", "eve") else said

    net = network(hear=hear)
    net.run(careless_server())
    all_end(net, SITES[:4], "confirmation of eve: the signature does not verify")

    # Without the signature it goes as far as the box itself, at the two sites alone.
    monkeypatch.setattr(set_up.PublicKeys, "verify", lambda self, signature, stated, what: None)
    net = network(hear=hear)
    net.run(careless_server())
    all_end(net, ("bob", "cyd"), "does not open")
    assert all("does not open" not in str(net.errors[site]) for site in ("ada", "dan"))


def test_a_confirmation_at_another_sites_place(monkeypatch: Patch) -> None:
    """The server passes eve's confirmation off as dan's."""
    eve: list[bytes] = []
    length = 64 + 5 * 48

    def show(question: Question, site: str) -> Said:
        contributors, body = question.contributors, question.body
        if question.task == "agree" and site == "ada":
            eve.append(body[4 * length :])
            body = body[: 3 * length] + eve[0] + body[4 * length :]
        return contributors, body

    net = network(show=show)
    net.run(careless_server())
    all_end(net, ("ada",), "confirmation of dan: the signature does not verify")


def double_box(keys: tuple[bytes, bytes], bound: bytes, first: bytes, second: bytes) -> tuple[bytes, bytes, bytes]:
    """Return one AES-GCM box that opens under both keys, and the two contents.

    Half of the content can be chosen for each key; one free block makes the two tags equal. Reference: Dodis, Grubbs,
    Ristenpart, Woodage, Fast Message Franking, CRYPTO 2018, section 3.
    """
    streams = [AESGCM(key).encrypt(bytes(12), bytes(32), None)[:32] for key in keys]
    hash_keys = [block_cipher(key, bytes(16)) for key in keys]
    pads = [block_cipher(key, bytes(12) + b"\0\0\0\1") for key in keys]
    lengths = (8 * len(bound)).to_bytes(8, "big") + (8 * 32).to_bytes(8, "big")
    block = xor(first, streams[0][:16])

    def partial(h: int, pad: bytes, last: bytes) -> int:
        total = 0
        for part in (bound[:16], bound[16:], block, last, lengths):
            total = times(total ^ number(part), h)
        return total ^ number(pad)

    numbers = [number(h) for h in hash_keys]
    zero = [partial(h, pad, bytes(16)) for h, pad in zip(numbers, pads, strict=True)]
    # The last block enters each tag as last·h²: last = (tag₁ ⊕ tag₂) / (h₁² ⊕ h₂²).
    squares = times(numbers[0], numbers[0]) ^ times(numbers[1], numbers[1])
    last = times(zero[0] ^ zero[1], inverse(squares)).to_bytes(16, "big")
    tag = partial(numbers[0], pads[0], last).to_bytes(16, "big")
    contents = [xor(block + last, stream) for stream in streams]
    return block + last + tag, contents[0], contents[1]


def block_cipher(key: bytes, block: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def number(block: bytes) -> int:
    return int.from_bytes(block, "big")


def times(one: int, other: int) -> int:
    """Multiply in GF(2^128) as GCM does (NIST SP 800-38D, 6.3)."""
    product = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            product ^= other
        other = other >> 1 ^ (0xE1 << 120 if other & 1 else 0)
    return product


def inverse(one: int) -> int:
    """Return one^(2^128 - 2)."""
    result, power = 1 << 127, one
    for _ in range(127):
        power = times(power, power)
        result = times(result, power)
    return result


class TwoFacedDealer(SiteAgreement):
    """A dealer whose one sealed secret is another one for bob: AES-GCM does not commit to its key."""

    def _confirm(self, state: Shown, present: tuple[str, ...], body: bytes) -> Confirmed:
        honest = super()._confirm(state, present, body)
        bobs = b"x" * SHARE_BYTES
        at, place = honest.meeting, meeting.SLOT_BYTES * (TERMS.index("bob") - 1)
        content = bytearray(honest.said[ED25519_BYTES:])
        slot = meeting._slot_key(at, state.keys, "bob", self._site, "bob").seal(bobs)
        content[place : place + meeting.SLOT_BYTES] = slot
        both = meeting._dealt_key(at, honest.share), meeting._dealt_key(at, bobs)
        box, mine, _ = double_box((both[0].raw, both[1].raw), both[0]._bound, DEALT[:16], DEALT[:16])
        content[-DEALT_BYTES - 16 :] = box
        said = state.keys.sign(meeting._confirmed(at, self._site, bytes(content))) + bytes(content)
        return Confirmed(state.keys, at, honest.share, mine, said)


def test_one_box_with_two_secrets(monkeypatch: Patch) -> None:
    """Every signature and every box is good, and yet bob would encrypt under a key of his own."""

    def two_faced() -> Network:
        net = network(dealt=True)
        honest = net.machines["ada"]
        net.machines["ada"] = TwoFacedDealer.__new__(TwoFacedDealer)
        vars(net.machines["ada"]).update(vars(honest))
        return net

    net = two_faced()
    net.run(careless_server(dealt_bytes=DEALT_BYTES))
    all_end(net, SITES[1:], "was told something else than")

    monkeypatch.setattr(agreement_module, "shared_digest", lambda *shared: bytes(DIGEST_BYTES))
    net = two_faced()
    net.run(careless_server(dealt_bytes=DEALT_BYTES))
    assert net.agreed["bob"].dealt != net.agreed["cyd"].dealt == net.agreed["ada"].dealt


def test_a_process_that_started_again_is_out() -> None:
    """New keys under the same name fit nothing that the others hold."""
    net = network()

    def show(question: Question, site: str) -> Said:
        if question.task == "agree" and site == "cyd":
            net.machines["cyd"] = agreement("cyd")
            net.machines["cyd"].keys()
        return question.contributors, question.body

    net.show = show
    assert net.run().members == ("ada", "bob", "dan", "eve")
    all_end(net, ("cyd",), "agree is not asked now")
