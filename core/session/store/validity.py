"""Which rows of results.db can be right: types, ranges and references, checked in one place for all readers.

SQLite takes any value in any column, and a flipped byte makes one of another type. A reader of a small data base is
given views of the tables without such rows; of a large one, where looking at all rows would take seconds, it reads the
tables as they are. The engine and a repair read the same conditions.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from photon_triage.core.frames import HIGHEST_INDEX, LATEST_TIME, Geometry
from photon_triage.core.session.store import database

SMALL, SMALL_BYTES = 20_000, 4 * 2**20
"""Frames, candidates or boxes, and bytes, up to which every opening looks at all rows: a tenth of a second."""

LONGEST_PATH = 4096
LARGEST_EXTENT = 10_000_000
"""Pixels along a side of a frame, and stages of a recipe: far beyond any."""
_DIGITS = 1e300
"""What is larger, infinity among it, is no measurement."""
_MODEL = "model_id IN (SELECT id FROM main.models)"

_GEOMETRY = {field.name for field in dataclasses.fields(Geometry)}
_NUMBERS = {"photon_energy_ev", "detector_distance", "pixel_size", "beam_center_x", "beam_center_y"}


def _whole(column: str, high: int, low: int = 0) -> str:
    return f"(typeof({column}) = 'integer' AND {column} BETWEEN {low} AND {high})"


def _number(column: str, low: float = -_DIGITS, high: float = _DIGITS) -> str:
    return f"(typeof({column}) IN ('real', 'integer') AND {column} BETWEEN {low!r} AND {high!r})"


def _text(*columns: str) -> str:
    return " AND ".join(f"(typeof({each}) = 'text' AND is_text(CAST({each} AS BLOB)))" for each in columns)


def _ascii(column: str) -> str:
    """A text of printable characters of ASCII alone; at a NUL SQLite ends counting, so the lengths must agree."""
    same = f"length({column}) = length(CAST({column} AS BLOB))"
    return f"(typeof({column}) = 'text' AND {same} AND {column} NOT GLOB '*[^ -~]*')"


def _numbers_by_name(column: str) -> str:
    """JSON of numbers by name, as Python writes it: NaN is what a stage could not measure, and no JSON."""
    python = f"replace(replace({column}, 'NaN', '0'), 'Infinity', '0')"
    text = f"CASE WHEN json_valid({column}) THEN {column} WHEN json_valid({python}) THEN {python} ELSE '[null]' END"
    other = f"SELECT 1 FROM json_each({text}) WHERE type NOT IN ('integer', 'real') OR abs(value) > {_DIGITS!r}"
    return f"({_ascii(column)} AND ltrim({column}) LIKE '{{%' AND NOT EXISTS ({other}))"


def _json(column: str, kind: str) -> str:
    return f"(typeof({column}) = 'text' AND is_json_{kind}(CAST({column} AS BLOB)))"


def _optional(column: str, condition: str) -> str:
    return f"({column} IS NULL OR {condition})"


_BOX = " AND ".join(_number(column) for column in ("score", "x", "y", "width", "height"))


_POINT = f"{_whole('x', LARGEST_EXTENT)} AND {_whole('y', LARGEST_EXTENT)} AND {_number('score')}"


_FILES = (
    f"{_text('path', 'dataset', 'run', 'layout', 'dtype', 'reason')} AND length(path) BETWEEN 1 AND {LONGEST_PATH} "
    f"AND {_whole('height', LARGEST_EXTENT)} AND {_whole('width', LARGEST_EXTENT)} AND {_json('geometry', 'geometry')} "
    f"AND {_whole('simulated', 1)} AND {_whole('frames', HIGHEST_INDEX + 1)} AND {_whole('done', HIGHEST_INDEX + 1)} "
    "AND status IN ('waiting', 'reading', 'complete', 'missing', 'unreadable') "
    f"AND typeof(size) = 'integer' AND size >= 0 AND typeof(mtime_ns) = 'integer' "
    f"AND {_number('updated', 0, LATEST_TIME)}"
)


_FRAMES = (
    f"{_whole('idx', HIGHEST_INDEX)} AND {_number('seen', 0, LATEST_TIME)} AND {_whole('passed', LARGEST_EXTENT)} "
    f"AND {_whole('hit', 1)} AND {_optional('score', _number('score'))} AND {_optional('model_id', _MODEL)} "
    f"AND {_optional('digest', _ascii('digest'))} AND {_numbers_by_name('measures')}"
)


_CONDITIONS: dict[str, str] = {
    "files": _FILES,
    "models": f"{_text('name')}",
    "frames": _FRAMES,
    "gaps": f"{_whole('start', HIGHEST_INDEX)} AND {_whole('stop', HIGHEST_INDEX + 1)} AND start < stop",
    "detections": f"{_text('class')} AND {_BOX}",
    "candidates": _POINT,
    "scores": f"{_number('score')} AND {_MODEL}",
    "former_candidates": f"{_POINT} AND {_MODEL}",
    "masks": f"{_whole('y', LARGEST_EXTENT)} AND {_whole('x', LARGEST_EXTENT)} AND {_whole('background', 255)} "
    f"AND {_json('classes', 'names')} AND typeof(png) = 'blob'",
    "history": f"{_whole('bin', int(LATEST_TIME))} AND {_whole('frames', 2**40)} AND {_whole('hits', 2**40)} "
    "AND hits <= frames",
    "state": f"{_text('key')} AND {_json('value', 'value')}",
}
"""By table, what is true of a row that can be right, in columns that every version has."""


_LATER: dict[str, dict[str, str]] = {
    "files": {
        "device": "typeof(device) = 'integer'",
        "inode": "typeof(inode) = 'integer'",
        "reach": _whole("reach", HIGHEST_INDEX + 1),
        "notes": _json("notes", "texts"),
        "replaced": _number("replaced", 0, LATEST_TIME),
    },
    "frames": {"changed": _optional("changed", _number("changed", 0, LATEST_TIME))},
}
"""The same of columns that later versions added."""


def conditions(db: sqlite3.Connection) -> dict[str, str]:
    """By table of this data base, of any version, what is true of a row that can be right. Raises sqlite3.Error."""
    there = _tables(db)
    found = {table: condition for table, condition in _CONDITIONS.items() if table in there}
    for table in _LATER.keys() & there:
        columns = database.columns(db, table)
        found[table] = " AND ".join([found[table], *(_LATER[table][name] for name in columns if name in _LATER[table])])
    if "frames" in found and "files" in found:
        found["frames"] += f" AND file_id IN (SELECT id FROM main.files WHERE {found['files']})"
    return found


def invalid_rows(db: sqlite3.Connection) -> dict[str, int]:
    """How many rows of each table cannot be right, of those tables that have any; reads all of them.

    Raises sqlite3.Error where a table cannot be read.
    """
    add_functions(db)
    found = {}
    for table, condition in conditions(db).items():
        (count,) = db.execute(f"SELECT count(*) FROM main.{table} WHERE NOT ifnull({condition}, 0)").fetchone()
        found[table] = int(count)
    return {table: count for table, count in found.items() if count}


def is_small(db: sqlite3.Connection) -> bool:
    """Whether looking at all rows takes no time that anybody would notice."""
    (pages,), (size,) = db.execute("PRAGMA page_count").fetchone(), db.execute("PRAGMA page_size").fetchone()
    if pages * size <= SMALL_BYTES:
        return True
    tables = _tables(db) & {"frames", "candidates", "detections", "former_candidates"}
    return all((db.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0) <= SMALL for table in tables)


def hide_invalid(db: sqlite3.Connection) -> dict[str, int]:
    """Put views without the rows that cannot be right before the tables of a connection; how many those are.

    Nothing is looked at, and nothing hidden, where the data base is large or cannot be read at all.
    """
    try:
        invalid = invalid_rows(db) if is_small(db) else {}
        if invalid:
            holds = conditions(db)
            db.execute("PRAGMA query_only=0")  # views are in memory, and SQLite counts them as writing all the same
            for table in invalid:
                db.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE {holds[table]}")
            db.execute("PRAGMA query_only=1")
    except sqlite3.DatabaseError:
        return {}
    return invalid


def described(invalid: Mapping[str, int]) -> str:
    """Tables with their numbers of invalid rows, for messages."""
    return ", ".join(f"{count} of the table {table}" for table, count in invalid.items())


def add_functions(db: sqlite3.Connection) -> None:
    """Give a connection the functions that the conditions call; each takes the bytes of a text, or NULL."""
    for name, function in _FUNCTIONS.items():
        db.create_function(name, 1, function, deterministic=True)


def _tables(db: sqlite3.Connection) -> set[str]:
    return {row[0] for row in db.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}


def _is_text(content: bytes | None) -> bool:
    try:
        return content is not None and "\0" not in content.decode("utf-8")
    except UnicodeDecodeError:
        return False


def _is_json(holds: Callable[[Any], bool]) -> Callable[[bytes | None], bool]:
    def check(content: bytes | None) -> bool:
        try:
            return content is not None and holds(json.loads(content))
        except (ValueError, TypeError, RecursionError):
            return False

    return check


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _DIGITS


def _is_geometry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= _GEOMETRY
        and all(value.get(name) is None or _is_number(value[name]) for name in _NUMBERS)
    )


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= 256 and all(isinstance(each, str) for each in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


_FUNCTIONS: dict[str, Callable[[bytes | None], bool]] = {
    "is_text": _is_text,
    "is_json_geometry": _is_json(_is_geometry),
    "is_json_names": _is_json(_are_names),
    "is_json_texts": _is_json(_are_texts),
    "is_json_value": _is_json(lambda _: True),
}
