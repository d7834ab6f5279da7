"""Reads YAML documents into models, and says in one line what is wrong with one that does not fit."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from almoner.errors import DocumentError
from almoner.schema.base import Document
from almoner.schema.consortium import Consortium
from almoner.schema.job import JobEnvelope, JobSpec
from almoner.schema.policy import ConsortiumPolicy, SitePolicy
from almoner.schema.site import SiteConfig

MAX_DOCUMENT_BYTES = 1_000_000

DOCUMENTS: dict[str, type[Document]] = {
    "job": JobSpec,
    "envelope": JobEnvelope,
    "policy": SitePolicy,
    "consortium-policy": ConsortiumPolicy,
    "site": SiteConfig,
    "consortium": Consortium,
}
"""The documents whose JSON Schema `almoner schema NAME` prints."""

D = TypeVar("D", bound=Document)


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number and refuses a key that is given twice."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def _mapping_without_duplicates(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]  # type: ignore[no-untyped-call]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", node.value[index][0].start_mark)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def _line_of(node: yaml.Node | None, path: tuple[int | str, ...]) -> int:
    """Return the 1-based line of the deepest part of a path that exists in the file."""
    line = 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            match = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if match is None:
                break
            line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _explain(error: ValidationError, node: yaml.Node | None, source: str) -> str:
    """Turn pydantic's report into `file:line: field: message`, unknown fields first, the others counted."""
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    line = _line_of(node, first["loc"])
    field = ".".join(str(part) for part in first["loc"]) or "document"
    remedy = {"extra_forbidden": "remove it, or correct its spelling", "missing": "add it"}.get(first["type"], "")
    message = first["msg"].removeprefix("Value error, ")
    text = f"{source}:{line}: {field}: {message}" + (f" → {remedy}" if remedy else "")
    return text + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def parse_document(text: str, model: type[D], source: str) -> D:
    """Parse YAML (or JSON) text into a model.

    Raises:
        DocumentError: with `source`, line, field and remedy in one line.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - _Loader derives from SafeLoader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise DocumentError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    try:
        return model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        raise DocumentError(_explain(error, node, source)) from None
    except (TypeError, ValueError, RecursionError):
        raise DocumentError(f"{source}: only text, numbers, booleans, lists and mappings are allowed") from None


def load_document(path: Path, model: type[D]) -> D:
    """Read a document from a file.

    Raises:
        DocumentError: when the file is missing, too large, or does not fit the model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_DOCUMENT_BYTES:
        raise DocumentError(f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise DocumentError(f"{path}: not UTF-8 text") from None
    return parse_document(text, model, str(path))
