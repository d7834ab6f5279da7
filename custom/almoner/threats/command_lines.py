"""Command lines of the walk-through, held against the Makefile and the commands of `almoner`; nothing is run."""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from pathlib import Path

_JOINTS = frozenset(("&&", "||", "|", ";", "&"))
_REDIRECTIONS = frozenset((">", ">>", "<"))
_TARGETS = re.compile(r"^([A-Za-z][\w -]*):(?!=)", re.MULTILINE)


def make_targets(root: Path) -> set[str]:
    """Return what `make` can be asked for in a checkout; nothing if it has no Makefile."""
    path = root / "Makefile"
    text = path.read_text() if path.is_file() else ""
    return {name for names in _TARGETS.findall(text) for name in names.split()}


def problems(line: str, commands: Mapping[str, Collection[str]], targets: Collection[str]) -> Iterator[str]:
    """Yield what a command line asks for that there is not, in any of the commands that are joined in it.

    Whether arguments and options fit their command is not looked at, but for the options' names.

    Args:
        commands: the names of `almoner`'s commands, such as "job plan", with each one's options, such as "--json".
        targets: of make.
    """
    try:
        parts = list(_parts(line))
    except ValueError:
        yield f"'{line}' is no command line"
        return
    for words in parts:
        if words[0] == "make":
            asked = (word for word in words[1:] if not word.startswith("-") and "=" not in word)
            yield from (f"there is no make target '{word}'" for word in asked if word not in targets)
            continue
        name = next((name for count in (2, 1) if (name := " ".join(words[1 : 1 + count])) in commands), None)
        if words[0] != "almoner" or name is None:
            yield f"there is no command '{' '.join(words)}'"
            continue
        options = {word.partition("=")[0] for word in words if word.startswith("-")} - {"--help"}
        yield from (f"'almoner {name}' has no option {option}" for option in sorted(options - set(commands[name])))


def _parts(line: str) -> Iterator[list[str]]:
    """Yield the words of each command of a line, without what is redirected.

    Raises:
        ValueError: a quote is open, or a command between two others is missing.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words = list(lexer)
    files = {place + shift for place, word in enumerate(words) if word in _REDIRECTIONS for shift in (0, 1)}
    kept = [word for place, word in enumerate(words) if place not in files]
    parts = [(joint, list(part)) for joint, part in groupby(kept, key=_JOINTS.__contains__)]
    if not parts or parts[0][0] or parts[-1][0] or any(joint and len(part) > 1 for joint, part in parts):
        raise ValueError
    yield from (part for joint, part in parts if not joint)
