"""JSON from files of others: of a bounded depth, so that nothing that walks through it runs out of stack."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 64
"""Levels of lists and tables within each other; what this program writes has fewer than ten."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; raises ValueError, also where it is nested more than DEEPEST levels deep."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        inside = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for part in inside for each in part if isinstance(each, dict | list)]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    return value
