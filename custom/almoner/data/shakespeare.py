"""Reads Shakespeare's plays as ten theatre companies hold them: what each speaker says, play by play.

The source has no companies. A speaker's company is a declared function of play and role alone: each company has two
to four plays of a kind, as `REPERTOIRE` says, and one role in five is on tour, at any of the ten, by a keyed hash of
play and role. So companies differ in subject, names and style. The privacy unit is a speaker: one role in one play, as
the source names it, in whatever case. Who changes his name is two speakers, and so is a king in two plays; "All" is one
a play. What follows a stage direction is said by who spoke before it. Stage directions are left out.
"""

import hashlib
import hmac
import json
import re
from pathlib import PurePosixPath

from almoner.data.archive import Members
from almoner.data.records import ID_COLUMN, SPLIT_COLUMN
from almoner.data.split import SplitRule
from almoner.errors import DataError

REPERTOIRE: dict[str, tuple[str, ...]] = {
    "company-01": ("a-midsummer-night-s-dream", "as-you-like-it", "love-s-labours-lost", "much-ado-about-nothing"),
    "company-02": ("the-comedy-of-errors", "the-merry-wives-of-windsor", "twelfth-night", "two-gentlemen-of-verona"),
    "company-03": ("edward-iii", "king-john", "richard-ii", "richard-iii"),
    "company-04": ("henry-iv-part-1", "henry-iv-part-2", "henry-v", "henry-viii"),
    "company-05": ("henry-vi-part-1", "henry-vi-part-2", "henry-vi-part-3", "macbeth"),
    "company-06": (
        "all-s-well-that-ends-well",
        "measure-for-measure",
        "the-merchant-of-venice",
        "the-taming-of-the-shrew",
    ),
    "company-07": ("antony-and-cleopatra", "coriolanus", "julius-caesar", "troilus-and-cressida"),
    "company-08": ("othello", "romeo-and-juliet", "timon-of-athens", "titus-andronicus"),
    "company-09": ("a-winter-s-tale", "cymbeline", "pericles", "the-tempest"),
    "company-10": ("hamlet", "king-lear"),
}
"""The plays that each company has: comedies, histories, plays of Rome and Troy, tragedies, romances."""

SITES = tuple(REPERTOIRE)
SPEECHES = "speeches"

_COMPANY_OF_PLAY = {play: company for company, plays in REPERTOIRE.items() for play in plays}
_TOUR_KEY = b"almoner/shakespeare/tour/1"
_TOURING = 5
"""One role in so many is not at its play's company."""

_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_DIRECTION = re.compile(r"\[[^\]]*(?:\]|\Z)|_+[^_]+_+|(?<!\*)\*[^*]+\*(?!\*)|_")
_HEADING = re.compile(r"^(#.*|\*\*.+\*\*)[ \t]*$", re.MULTILINE)


def speaker_files(members: Members, split: SplitRule) -> dict[str, bytes]:
    """Render each company's file: a line is a JSON object, a speaker with his id, his split and his speeches.

    Args:
        members: the texts of the plays by their paths in the archive.
        split: of the data set.

    Raises:
        DataError: when they are not the plays of `REPERTOIRE`.
    """
    plays = {PurePosixPath(path).stem: content for path, content in members.items()}
    if plays.keys() != _COMPANY_OF_PLAY.keys():
        raise DataError("plays: not those of the repertoire → fetch the pinned release of the data set")
    lines: dict[str, list[str]] = {company: [] for company in SITES}
    for play, content in sorted(plays.items()):
        for role, speeches in said_in(content.decode(errors="replace")).items():
            record_id = f"{play}/{role}"
            line = {ID_COLUMN: record_id, SPLIT_COLUMN: split(record_id), SPEECHES: speeches}
            lines[company_of(play, role)].append(json.dumps(line, ensure_ascii=False) + "\n")
    return {company: "".join(own).encode() for company, own in lines.items()}


def said_in(text: str) -> dict[str, list[str]]:
    """Return the speeches of one play by role; who says nothing is not among them.

    Args:
        text: headings begin with #, a speaker's name stands in a line of its own between double stars, stage
            directions stand in brackets, between single stars, or between underscores.
    """
    paragraphs = _PARAGRAPH.split(text.replace("\\", ""))
    _, *pieces = _HEADING.split("\n\n".join(_DIRECTION.sub(" ", paragraph) for paragraph in paragraphs))
    said: dict[str, list[str]] = {}
    for heading, speech in zip(pieces[::2], pieces[1::2], strict=True):
        if not heading.startswith("#") and speech.strip():
            said.setdefault(" ".join(heading.strip("*").upper().split()), []).append(" ".join(speech.split()))
    return said


def company_of(play: str, role: str) -> str:
    """Return the company that a speaker is at; a function of its two arguments.

    Args:
        play: one of `REPERTOIRE`.
        role: in upper case.
    """
    tag = hmac.new(_TOUR_KEY, f"{play}/{role}".encode(), hashlib.sha256).digest()
    if int.from_bytes(tag[:8], "big") % _TOURING == 0:
        return SITES[int.from_bytes(tag[8:16], "big") % len(SITES)]
    return _COMPANY_OF_PLAY[play]
