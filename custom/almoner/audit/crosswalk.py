"""The cross-walk from provisions of laws and standards to the evidence in a pack; its text is `crosswalk.yaml`."""

from functools import lru_cache
from importlib.resources import files
from typing import Annotated

import yaml
from pydantic import Field

from almoner.schema.base import Model

Text = Annotated[str, Field(min_length=1, max_length=300)]


class Row(Model):
    """One provision.

    Args:
        scope: what of it software can touch.
        contributes: what the platform does towards it.
        evidence: parts of a pack; `sites/` stands for those of every site.
        gap: what stays open.
    """

    provision: Text
    scope: Text
    contributes: Text
    evidence: list[str]
    gap: Text


class Framework(Model):
    """One law or standard."""

    name: Text
    rows: Annotated[list[Row], Field(min_length=1)]


class _Crosswalk(Model):
    frameworks: list[Framework]


@lru_cache(maxsize=1)
def load_crosswalk() -> tuple[Framework, ...]:
    """Return the cross-walk."""
    text = (files("almoner.audit") / "templates" / "crosswalk.yaml").read_text(encoding="utf-8")
    return tuple(_Crosswalk.model_validate(yaml.safe_load(text)).frameworks)
