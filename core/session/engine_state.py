"""What an engine says of itself, in the table `state` of results.db: which keys there are, and of what kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MOST_PIDS = 2**22
"""Linux gives no higher number to a process."""


def checked_state(told: Mapping[str, Any]) -> dict[str, Any]:
    """The state without what is of another kind than its key; keys that are not known here stay as they are."""
    return {key: value for key, value in told.items() if key not in _KINDS or _KINDS[key](value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_process(value: Any) -> bool:
    """Whether a value is the number of one process: 0 and negative ones would mean whole groups."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 < value < MOST_PIDS


def _are_texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


_NUMBERS = (
    "version heartbeat started rate_hz lag_s queue passed_over scored shadow_scored message_at workers moved replaced "
    "dropped busy_s changes"
)
_KINDS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_NUMBERS.split(), _is_number),
    **dict.fromkeys(("working_since", "stalled_s"), _or_none(_is_number)),
    **dict.fromkeys(("status", "message", "host", "busy_with"), _is_text),
    **dict.fromkeys(("model", "shadow", "device", "trouble"), _or_none(_is_text)),
    "pid": _is_process,
    "models": _are_texts_by_name,
    "problems": _or_none(_are_texts_by_name),
    "ignored": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
    "alarms": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
    "job": lambda value: isinstance(value, dict),
    "paths": _are_texts,
    "retried": _are_texts,
}
