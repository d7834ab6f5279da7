"""The files of a new package that adds a workload: a small one that works, its tests, and three sites to try it on.

The templates lie in `templates/`, each under the path that its file gets; `$name` and the like are filled in.
"""

import hashlib
import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from string import Template

from almoner.errors import DocumentError
from almoner.workloads.package_files import RESERVED
from almoner.workloads.registry import WORKLOADS

SITES = ("site-a", "site-b", "site-c")
_DIMENSION = 4
"""Of the template's model, whose weights are 0."""

_SUFFIX = ".template"


def render_skeleton(name: str) -> dict[str, str]:
    """Return the files of a package by path.

    Args:
        name: of the package, its folder of code and its workload alike.

    Raises:
        DocumentError: the name cannot be all of them.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > 40:
        raise DocumentError(f"workload {name!r:.60}: not a name → lower-case letters, digits, '_', 40 at most")
    if name in WORKLOADS or name in RESERVED or keyword.iskeyword(name):
        raise DocumentError(f"workload {name}: is the name of something else → give another one")
    words = {
        "name": name,
        "project": name.replace("_", "-"),
        "title": name.replace("_", " "),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "dimension": str(_DIMENSION),
        "initial_weights": hashlib.sha256(bytes(8 * _DIMENSION)).hexdigest(),
        "sites": ", ".join(SITES),
    }
    rendered = {}
    for path, template in _templates(files("almoner.workloads") / "templates"):
        for site in SITES if "SITE" in path else ("",):
            filled = words | {"site": site}
            rendered[path.replace("NAME", name).replace("SITE", site)] = Template(template).substitute(filled)
    return rendered


def _templates(folder: Traversable, below: str = "") -> list[tuple[str, str]]:
    """Return path and text of every template below a folder."""
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _templates(entry, f"{below}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((below + entry.name.removesuffix(_SUFFIX), entry.read_text()))
    return found
