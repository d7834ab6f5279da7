"""What a server that carries the messages can do, and what a site can: each attack with the control off, then on."""

import hmac
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest
from psi_cases import Network, names, terms
from tests.unit.protection.protection_cases import key_pem

from almoner.errors import ProtocolError
from almoner.protection.boxes import BoxKey
from almoner.protection.set_up import (
    DIGEST_BYTES,
    KEY_BYTES,
    SET_UP_BYTES,
    SIGNED_BYTES,
    JobKeys,
    PublicKeys,
    make_set_up,
)
from almoner.psi import compare, padding, session, site
from almoner.psi.padding import PaddedList, SiteList
from almoner.psi.points import BlindingKey, split_points

LISTS = {"ada": names("a", "b", "c"), "bob": names("b", "c", "d")}


def refused(network: Network, lists: dict[str, Any] = LISTS) -> str:
    """Run an alignment that must fail; return why, and check that nobody has a result of it."""
    with pytest.raises(ProtocolError) as error:
        network.run(lists)
    return str(error.value)


def in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the boxes off: the messages go as they are."""
    monkeypatch.setattr(BoxKey, "seal", lambda self, content: content + bytes(16))
    monkeypatch.setattr(BoxKey, "unseal", lambda self, box: box[:-16])


class TestServer:
    @pytest.mark.threat("T-60")
    def test_sizes_are_in_the_lengths_of_unpadded_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def lengths(lists: dict[str, Any]) -> dict[str, int]:
            network = Network(terms(cap=8))
            network.run(lists, until="blind")
            return {name: len(network.said["blind", name]) for name in lists}

        other: dict[str, Any] = {"ada": names("a"), "bob": names("b", "c", "d", "e", "f")}
        assert lengths(LISTS) == lengths(other) == {"ada": 8 * 33 + 16, "bob": 8 * 33 + 16}

        def not_filled_up(own: SiteList, cap: int, salt: bytes, name: str) -> PaddedList:
            found = tuple(own.rows)
            return PaddedList(tuple(padding._salted(salt, value) for value in found), found)

        monkeypatch.setattr(site, "pad", not_filled_up)
        assert {name: (found - 16) // 33 for name, found in lengths(other).items()} == {"ada": 1, "bob": 5}

    @pytest.mark.threat("T-61")
    def test_server_takes_part_with_a_list_and_keys_of_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It stands between the two: towards bob it is ada, with its guesses instead of her list."""
        of, guess = terms(), names("d", "q", "r")
        keys = JobKeys.generate()
        forged: dict[str, bytes] = {}

        def show(task: str, name: str, body: bytes) -> bytes:
            if task == "meet" and name == "bob":
                forged["ada"] = make_set_up(of, "ada", keys, key_pem("mallory"))
                return forged["ada"] + body[SET_UP_BYTES:]
            return body

        def learned() -> set[bytes | None]:
            taken = Network(of, show)
            taken.run(LISTS, until="keys")
            body = taken.body("meet")
            bob = taken.machines["bob"]
            bob.meet(show("meet", "bob", body))
            said = bob.blind(LISTS["bob"])
            monkeypatch.setattr(session, "read_set_up", _unsigned)  # the server's own side checks nobody
            mine = _as_leader(of, keys, body, forged["ada"], guess)
            answer = bob.exchange(mine["list"] + said)
            return mine["compare"](said, answer)

        with pytest.raises(ProtocolError, match="set-up of ada: not signed with its certificate's key"):
            learned()
        monkeypatch.setattr(session, "read_set_up", _unsigned)
        assert learned() == {b"d"}  # the server knows now that bob has this patient

    @pytest.mark.threat("T-61")
    def test_server_guesses_at_entries_without_boxes_and_salt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A hash of an identifier is found by hashing all there are; neither hash nor salt reaches the server."""
        network = Network(terms())
        network.run(LISTS, until="blind")
        carried = network.said["blind", "bob"]
        guesses = [hmac.digest(bytes(32), value, sha256) for value in LISTS["bob"] if value]
        assert not any(guess in carried or guess.hex().encode() in carried for guess in guesses)

        in_clear(monkeypatch)
        monkeypatch.setattr(session.Session, "salt", lambda self, member: bytes(32))
        monkeypatch.setattr(BlindingKey, "blind", _plain_hashes)
        open_network = Network(terms())
        open_network.run(LISTS, until="blind")
        carried = open_network.said["blind", "bob"]
        assert all(sha256(f"record:{guess.hex()}".encode()).digest() in carried for guess in guesses)

    @pytest.mark.threat("T-61")
    def test_server_puts_another_list_in_a_sites_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Points of its own, in place of a site's box: with the boxes off, sites compare with them."""

        def show(task: str, name: str, body: bytes) -> bytes:
            if task != "exchange" or name != "ada":
                return body
            return body[: -terms().list_box_bytes] + BlindingKey().blind([f"guess {n}" for n in range(8)]) + bytes(16)

        assert refused(Network(terms(), show)) == "box of bob for ada: it does not open"
        in_clear(monkeypatch)
        network = Network(terms(), show)
        network.run(LISTS)
        assert network.rows() == {"ada": (), "bob": ()}

    @pytest.mark.parametrize("task", ["meet", "exchange", "compare", "learn"])
    @pytest.mark.parametrize("change", ["cut", "longer", "flipped", "empty"])
    def test_a_changed_message_ends_the_job_at_its_site(self, task: str, change: str) -> None:
        def show(asked: str, name: str, body: bytes) -> bytes:
            if asked != task:
                return body
            flipped = bytes([body[-1] ^ 1])
            return {"cut": body[:-1], "longer": body + b"0", "flipped": body[:-1] + flipped, "empty": b""}[change]

        network = Network(terms(), show)
        refused(network)
        with pytest.raises(ProtocolError, match="there is no result"):
            _ = network.machines["bob"].alignment


class TestReplay:
    @pytest.mark.threat("T-62")
    def test_keys_of_another_job_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        earlier, again = Network(terms()), terms(job_id="6a1b1111-0000-4000-8000-000000000001")
        earlier.run(LISTS, until="keys")
        replayed = earlier.said["keys", "bob"]

        def show(task: str, name: str, body: bytes) -> bytes:
            return body[:SET_UP_BYTES] + replayed if (task, name) == ("meet", "ada") else body

        with pytest.raises(ProtocolError, match="set-up of bob: it is about other terms, or another job"):
            Network(again, show).run(LISTS, until="blind")
        monkeypatch.setattr(session, "read_set_up", _unsigned)
        Network(again, show).run(LISTS, until="blind")  # ada's list is on its way, sealed for an old key

    @pytest.mark.threat("T-62")
    def test_lists_of_an_earlier_run_do_not_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same terms once more: keys are drawn anew, so that old boxes are of another transcript."""
        earlier = Network(terms())
        earlier.run(LISTS)

        def show(task: str, name: str, body: bytes) -> bytes:
            return earlier.body(task) if task == "exchange" else body

        assert refused(Network(terms(), show)) == "box of bob for ada: it does not open"
        in_clear(monkeypatch)
        earlier = Network(terms())
        earlier.run(LISTS)
        network = Network(terms(), show)
        network.run(LISTS)
        assert network.rows() == {"ada": (), "bob": ()}  # nobody notices

    @pytest.mark.threat("T-62")
    def test_a_member_passes_anothers_list_off_as_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of three, cyd has no list and sends what bob sent."""
        lists: dict[str, Any] = {"ada": names("a"), "bob": names("a"), "cyd": []}

        def show(task: str, name: str, body: bytes) -> bytes:
            half, one = len(body) // 2, terms().list_box_bytes
            return body[:half] + 2 * body[half : half + one] if (task, name) == ("exchange", "ada") else body

        assert refused(Network(terms(3), show), lists) == "box of cyd for ada: it does not open"
        in_clear(monkeypatch)
        Network(terms(3), show).run(lists)  # nobody notices


class TestMember:
    def test_a_list_with_an_entry_twice_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_clear(monkeypatch)

        def show(task: str, name: str, body: bytes) -> bytes:
            if task != "exchange" or name != "ada":
                return body
            half = len(body) // 2
            return body[: half + 33] + body[half : half + 33] + body[half + 66 :]

        assert refused(Network(terms(), show)) == "list of bob: an entry is there twice"

    def test_what_is_no_point_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        in_clear(monkeypatch)

        def show(task: str, name: str, body: bytes) -> bytes:
            half = len(body) // 2
            return body[:half] + bytes(33) + body[half + 33 :] if (task, name) == ("exchange", "ada") else body

        assert refused(Network(terms(), show)) == "list of bob: an entry is no point of the curve"

    @pytest.mark.threat("T-60")
    def test_marks_on_what_fills_up_tell_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A leader that marks every place: off, bob refuses if his list is not full; on, his answer is the same."""
        in_clear(monkeypatch)
        full, short = names(*"abcdefgh"), names("b", "c", "d")

        def answer(own: Any) -> tuple[bytes, tuple[int, ...]]:
            network = Network(terms(), lambda task, name, body: b"\xff" + bytes(16) if task == "learn" else body)
            network.run({"ada": LISTS["ada"], "bob": own})
            return network.said["learn", "bob"], network.rows()["bob"]

        assert answer(full) == (b"", tuple(range(8)))
        assert answer(short) == (b"", (0, 1, 2))  # what a lying leader marks is wrong (T-65), and seen by bob alone

        monkeypatch.setattr(site, "marked", _refuses_marked_fillings)
        assert answer(full) == (b"", tuple(range(8)))
        with pytest.raises(ProtocolError, match="no record"):
            answer(short)

    @pytest.mark.parametrize("marks", [b"", b"\xff\xff"])
    def test_marks_of_another_length_are_refused(self, marks: bytes) -> None:
        padded = padding.pad(padding.site_list(names("a"), 8), 8, bytes(32), "bob")
        with pytest.raises(ProtocolError, match="not one for each entry"):
            compare.marked(padded, marks)

    @pytest.mark.threat("T-63")
    def test_a_list_with_more_guesses_than_the_cap_is_not_compared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Bob's own code cuts nothing off, and the server carries it all."""
        everybody = [number.to_bytes(2, "big") for number in range(100)]
        monkeypatch.setattr(site, "site_list", lambda found, cap: padding.site_list(found, len(found)))
        network = Network(terms(cap=10))
        assert refused(network, {"ada": everybody[:10], "bob": everybody}).startswith("lists: ")
        assert ("exchange", "ada") not in network.said

    @pytest.mark.threat("T-63")
    def test_guesses_are_no_more_than_the_cap(self) -> None:
        """A site learns of as many guesses as fit into its list; the others are left out before anything is sent."""
        everybody = [number.to_bytes(2, "big") for number in range(1000)]
        network = Network(terms(cap=10))
        network.run({"ada": everybody[:10], "bob": everybody})
        assert network.machines["bob"].alignment.own.num_left_out == 990
        assert network.machines["bob"].alignment.num_common <= 10
        wide = Network(terms(cap=1000))
        wide.run({"ada": everybody[:10], "bob": everybody})
        assert wide.machines["bob"].alignment.num_common == 10

    @pytest.mark.threat("T-64")
    def test_what_a_log_line_makes_of_an_alignment_tells_nothing(self) -> None:
        network = Network(terms())
        network.run({"ada": names("kim", "lee"), "bob": names("kim", "nat")})
        for found in network.machines.values():
            shown = f"{found} {found._state} {found.alignment} {found.alignment.own}"
            assert not any(word in shown for word in ("kim", "lee", "nat", "num_common"))

    def test_places_in_the_others_list_tell_nothing(self) -> None:
        """Which place of the leader's list a member's entry is in, over many runs: each is as likely."""
        places: Counter[int] = Counter()
        for _ in range(200):
            own = padding.site_list(names("a", "b"), 4)
            places[padding.pad(own, 4, bytes(32), "ada").identifiers.index(b"a")] += 1
        assert all(20 < places[place] < 85 for place in range(4))  # 50 expected; 5 standard deviations: 1 in 10^6


def _refuses_marked_fillings(padded: PaddedList, marks: bytes) -> frozenset[bytes]:
    """Read marks, and refuse any on what stands for no record."""
    if any(value is None and marks[place // 8] >> place % 8 & 1 for place, value in enumerate(padded.identifiers)):
        raise ProtocolError("a mark on no record")
    return compare.marked(padded, marks)


def _unsigned(message: bytes, *others: Any) -> Any:
    """Read a set-up message, whoever signed it."""
    shown = message[DIGEST_BYTES:SIGNED_BYTES]
    return PublicKeys(shown[:KEY_BYTES], shown[KEY_BYTES:])


def _plain_hashes(self: BlindingKey, entries: tuple[str, ...]) -> bytes:
    """Send hashes in place of blinded points."""
    return b"".join(b"\x02" + sha256(entry.encode()).digest() for entry in entries)


def _as_leader(of: Any, keys: JobKeys, body: bytes, said: bytes, guess: Any) -> dict[str, Any]:
    """Play the leader with keys and a list of one's own."""
    shown = said + body[SET_UP_BYTES:]
    mine = session.meet(of, "ada", keys, said, shown, dict.fromkeys(of.sites, None))  # type: ignore[arg-type]
    padded, key = padding.pad(padding.site_list(guess, of.cap), of.cap, mine.salt("bob"), "ada"), BlindingKey()

    def compare(their_list: bytes, again: bytes) -> set[bytes | None]:
        theirs = key.blind_again(split_points(mine.unseal(session.MEMBER_LIST, "bob", their_list), of.cap, "l"), "l")
        ours = split_points(mine.unseal(session.LEADER_LIST_AGAIN, "bob", again), of.cap, "l")
        found = set(split_points(theirs, of.cap, "l"))
        return {value for value, point in zip(padded.identifiers, ours, strict=True) if point in found} - {None}

    result: dict[str, Any] = {"list": mine.seal(session.LEADER_LIST, "bob", key.blind(padded.entries))}
    return {**result, "compare": compare}
