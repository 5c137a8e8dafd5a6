"""Values of command line options that several commands take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from photon_triage.core.common.errors import UsageError


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Options KEY=VALUE by key; values are numbers, lists such as 6,16 or [6], true, false, null, or words.

    Raises UsageError.
    """
    options = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"Could not use --option {each}.", "Expected KEY=VALUE, as in depth=30 or widths=6,16.")
        options[key] = _value(value)
    return options


def parse_size(given: str | None) -> tuple[int, ...] | None:
    """The extents of `416x416`, height first. Raises UsageError."""
    if given is None:
        return None
    parts = given.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"Could not use --size {given}.", "Expected HEIGHTxWIDTH in pixels, as in 416x416.")
    return tuple(map(int, parts))


def parse_names(given: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return [_value(part) for part in text.split(",")] if "," in text else text
