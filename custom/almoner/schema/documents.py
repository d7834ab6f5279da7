"""Reads YAML documents into models, and says in one line what is wrong with one that does not fit."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from almoner.errors import DocumentError
from almoner.schema.consortium import Consortium
from almoner.schema.envelope import JOB_KINDS, AnyJob, AnyJobSpec, JobEnvelope
from almoner.schema.job import JobSpec
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.policy_case import PolicyTests
from almoner.schema.site import SiteConfig
from almoner.schema.threat_model import ThreatModel
from almoner.schema.workload import WorkloadDeclaration

MAX_DOCUMENT_BYTES = 256_000
"""Ten times a roster of 50 sites; the parser needs some 2 s for as much text made to be slow."""

DOCUMENTS: dict[str, type[BaseModel]] = {
    "job": AnyJob,
    "envelope": JobEnvelope,
    "policy": SitePolicy,
    "consortium-policy": ConsortiumPolicy,
    "site": SiteConfig,
    "consortium": Consortium,
    "policy-tests": PolicyTests,
    "workload": WorkloadDeclaration,
    "threat-model": ThreatModel,
}
"""The documents whose JSON Schema `almoner schema NAME` prints."""

_REMEDIES = {
    "extra_forbidden": "remove it, or correct its spelling",
    "missing": "add it",
    "model_type": "give its fields, one `name: value` a line",
}
"""What to do about a problem, by pydantic's name for it, where its message does not say it."""

_TAGS = ("kind", "mechanism")
"""The fields that unions are told apart by."""

D = TypeVar("D", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, and refuses aliases, keys given twice and octal integers."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: a few nested ones expand to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise ComposerError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    """Build a mapping whose keys are text, each given once."""
    seen: set[str] = set()
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            raise ConstructorError(None, None, "a key is not text; put it in quotes", key.start_mark)
        if key.value in seen:
            raise ConstructorError(None, None, f"key '{key.value}' is given twice", key.start_mark)
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    """Read a decimal integer; YAML 1.1 would read 010 as 8 and 1:30 as 90."""
    if not re.fullmatch(r"[-+]?(0|[1-9][0-9]{0,99})", node.value):
        raise ConstructorError(None, None, "not a plain decimal integer", node.start_mark)
    return int(node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))


def _locate(node: yaml.Node | None, path: tuple[int | str, ...]) -> tuple[int, list[str]]:
    """Return the 1-based line of the deepest part of a path that is in the file, and the parts that are.

    Below the root, pydantic puts the tag of a union, a mapping's `kind` or `mechanism`, before the part in that
    mapping: it is left out, also where a field has the tag's name.
    """
    line, found, entered = 1, list[str](), False
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            is_tag = entered and part in [pairs[tag][1].value for tag in _TAGS if tag in pairs]
            entered = False
            if is_tag or part not in pairs:
                continue
            line, node = pairs[part][0].start_mark.line + 1, pairs[part][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            continue
        found.append(str(part))
        entered = True
    return line, found


def _explain(error: ValidationError, node: yaml.Node | None, source: str) -> str:
    """Turn a report into `file:line: field: message`: a wrong kind first, then unknown fields; others counted."""
    problems = sorted(
        error.errors(include_url=False), key=lambda one: (one["loc"] != ("kind",), one["type"] != "extra_forbidden")
    )
    first = problems[0]
    line, found = _locate(node, first["loc"])
    if first["type"] == "missing":
        found.append(str(first["loc"][-1]))
    field = ".".join(found) or "document"
    remedy = _REMEDIES.get(first["type"], "")
    message = first["msg"].removeprefix("Value error, ")
    text = f"{source}:{line}: {field}: {message}" + (f" → {remedy}" if remedy else "")
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def _one_line(text: str) -> str:
    """Replace what would break a line or steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _read_yaml(text: str, source: str) -> tuple[yaml.Node | None, Any]:
    """Return the tree of a YAML text, for line numbers, and its plain value.

    Raises:
        DocumentError: not YAML, or YAML that documents do not use: tags, aliases, keys given twice.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        raise DocumentError(_one_line(f"{where}: not valid YAML: {problem}")) from None
    except ValueError as error:
        raise DocumentError(_one_line(f"{source}: not valid YAML: {error}")) from None
    except RecursionError:
        raise DocumentError(f"{source}: nested too deeply") from None


def parse_document(text: str, model: type[D], source: str) -> D:
    """Parse YAML (or JSON) text into a model.

    Raises:
        DocumentError: with `source`, line, field and remedy in one line.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{source}: larger than {MAX_DOCUMENT_BYTES} bytes")
    node, data = _read_yaml(text, source)
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise DocumentError(_one_line(_explain(error, node, source))) from None
    except (TypeError, ValueError, RecursionError):
        raise DocumentError(f"{source}: only text, numbers, booleans, lists and mappings are allowed") from None


def field_lines(text: str, source: str, fields: Iterable[str]) -> dict[str, int]:
    """Return the 1-based line of each field, given as a dotted path, that a YAML text has.

    Raises:
        DocumentError: the text is not YAML.
    """
    node, _ = _read_yaml(text, source)
    lines = {}
    for field in fields:
        path = tuple(int(part) if part.isdigit() else part for part in field.split("."))
        line, found = _locate(node, path)
        if len(found) == len(path):
            lines[field] = line
    return lines


def read_text(path: Path) -> str:
    """Read the text of a document.

    Raises:
        DocumentError: when the file is missing, too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DocumentError(f"{path}: not UTF-8 text") from None


def load_document(path: Path, model: type[D]) -> D:
    """Read a document from a file.

    Raises:
        DocumentError: when the file is missing, too large, or does not fit the model.
    """
    return parse_document(read_text(path), model, str(path))


def load_job(path: Path) -> AnyJobSpec:
    """Read a job of any kind from a file.

    Raises:
        DocumentError: when the file is missing, too large, or no job.
    """
    text, source = read_text(path), str(path)
    node, data = _read_yaml(text, source)
    kind = data.get("kind") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind not in JOB_KINDS:
        line, _ = _locate(node, ("kind",))
        raise DocumentError(_one_line(f"{source}:{line}: kind: is {kind} → one of {', '.join(JOB_KINDS)}"))
    return parse_document(text, JOB_KINDS.get(str(kind), JobSpec), source)
