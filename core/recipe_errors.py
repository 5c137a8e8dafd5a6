"""Errors of a recipe as sentences: at which line of its text, in which key, and what is allowed there."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def complaints(
    text: str,
    error: ValidationError,
    recipe: type[BaseModel],
    tables: Mapping[str, type[BaseModel]],
    stages: Mapping[str, type[BaseModel]],
) -> list[str]:
    """Each error of a recipe's TOML text as a sentence.

    recipe: the model of the whole text. tables: those of its tables, by name. stages: those of its stages, by kind.
    """
    models = {**tables, **stages}
    return [_complaint(text, dict(each), recipe, models, stages.keys()) for each in error.errors(include_url=False)]


def _complaint(
    text: str,
    error: dict[str, Any],
    recipe: type[BaseModel],
    models: Mapping[str, type[BaseModel]],
    kinds: Collection[str],
) -> str:
    location = [part for part in error["loc"] if part not in kinds]
    line = _line_of(text, location)
    where = f"line {line}" if line else "at the top level"
    name = ".".join(str(part) for part in location)
    message = str(error["msg"]).removeprefix("Value error, ")
    context = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        inside = (models[part] for part in reversed(error["loc"][:-1]) if part in models)
        message = f"unknown key; allowed here: {', '.join(next(inside, recipe).model_fields)}"
    elif error["type"] == "missing":
        message = "this key is missing"
    elif "expected" in context:
        message = f"got {error['input']!r}, allowed: {context['expected']}"
    elif "expected_tags" in context:
        message = f"got {context.get('tag')!r} for kind, allowed: {context['expected_tags']}"
    elif error["type"] not in ("value_error", "union_tag_not_found"):
        message = f"got {error['input']!r}: {message}"
    return f"{where}, {name}: {message}" if name else f"{where}: {message}"


def _line_of(text: str, location: list[Any]) -> int | None:
    """The line (1-based) of the key that a validation error points at, or of its table's header."""
    header, best, stage = "", None, -1
    wanted_stage = location[1] if len(location) > 1 and location[0] == "stages" else None
    table = "stages" if wanted_stage is not None else (str(location[0]) if len(location) > 1 else "")
    key = str(location[-1]) if location else ""
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            header = match[1]
            stage += header == "stages"
            here = header.split(".")[0] == table and (wanted_stage is None or stage == wanted_stage)
            if here and best is None:
                best = number
            continue
        here = header.split(".")[0] == table and (wanted_stage is None or stage == wanted_stage)
        candidates = {key, str(location[-2]) if len(location) > 1 else key}
        if here and (match := re.match(r"\s*\"?([\w-]+)\"?\s*[=.]", line)) and match[1] in candidates:
            return number
    return best
