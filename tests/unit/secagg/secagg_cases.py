"""What the tests of secret sharing share: the vectors, and sites by themselves."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parents[2] / "vectors" / "secagg"


@lru_cache(maxsize=1)
def vectors() -> dict[str, Any]:
    return json.loads((VECTORS / "secagg.json").read_text())
