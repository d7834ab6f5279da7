"""What all documents share: strict, frozen models and text that FLARE cannot expand."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Model(BaseModel):
    """A frozen record: unknown fields, coercions, NaN and infinities are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Document(Model):
    """A file that a person writes or a machine keeps; it always carries its version."""

    schema_version: Literal[1]


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""An identifier: lower-case letters, digits, `-` and `_`; safe in paths, SQL and FLARE configs."""

PlainText = Annotated[
    str, StringConstraints(pattern=r"^[^{}@$\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]{1,200}$")
]
"""One line of prose. `{`, `}`, `@` and `$` are refused: FLARE expands them in configurations. Control
characters, line separators and marks that reverse the direction of text are refused: logs show it."""

UserName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,}$", max_length=64),
]
"""A FLARE user name, in the form of an e-mail address; a certificate's common name has room for 64 characters."""

HostName = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", max_length=63
    ),
]
"""A DNS name; FLARE puts it into the server's certificate."""

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 digest in hexadecimal."""

Epsilon = Annotated[float, Field(ge=1e-6, le=100)]
Delta = Annotated[float, Field(gt=0, lt=0.1)]
Probability = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
ProtectionKind = Literal["plain", "he", "secagg", "robust"]
NeighboringRelation = Literal["add_or_remove_one"]
TrustModel = Literal["trusted_server", "semi_honest_server", "active_server"]
"""What a protection asks one to believe of the server: that it may see each noised update; that it follows the
protocol, and the operator uses no key that he made; or nothing, up to `num_colluding_sites` sites at its side."""


def canonical_json(value: Model | dict[str, Any] | list[Any]) -> bytes:
    """Encode a value as the one byte string that digests and signatures are taken over.

    Keys are sorted, separators are minimal, text is ASCII, and NaN is an error.
    """
    plain = value.model_dump(mode="json") if isinstance(value, Model) else value
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def digest(value: Model | dict[str, Any] | list[Any] | bytes) -> str:
    """Return the SHA-256 of bytes, or of a value's canonical JSON, in hexadecimal."""
    data = value if isinstance(value, bytes) else canonical_json(value)
    return hashlib.sha256(data).hexdigest()


def org_code(name: str) -> str:
    """Return FLARE's spelling of an organisation, which has no `-`."""
    return name.replace("-", "_")
