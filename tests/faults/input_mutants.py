"""Texts, JSON and data bases with something changed in them at random, as slips of the pen and bad disks do."""

from __future__ import annotations

import json
import random
import sqlite3
import zlib
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

STRANGE: tuple[Any, ...] = (
    None, "", "abc", "a\0b", "12", "\u202e\x1b[2J", "/data/\udcff", "\ud800", "x" * 5000, True, False, -1, 0, 1, 7,
    10**6, 2**31, 2**63 - 1, -(2**63), 0.5, -1e308, 1e308, float("inf"), float("-inf"), [], {}, [1],
    {"a": [1, {"b": None}]}, [[]], [None],
)  # fmt: skip
"""Values of any type, sense and size."""
_IN_SQL: tuple[Any, ...] = (
    *(value for value in STRANGE if not isinstance(value, list | dict)),
    b"", b"\xff\xfe\0", "{}", "[]", "[1]", '{"a": [1]}', '{"photons": "many"}', '{"photons": null}',
    '{"photons": 1e999}',
    "null", '"x"', "NaN", "{", "[" * 3000, '{"a": ' + "9" * 400 + "}",
)  # fmt: skip
_PIECES = (
    "\0", "\ufeff", "\u202e", "\ud7ff", "é", "9" * 400, "1e999", "-1", "nan", "0x10", "1_0", '"', "'", "'''", "[", "]",
    "[[", "{", "}", "=", "==", ",", ";", "\t", "\n", "\r", "#", ".", "[net]", "true", "false", "inf", "2999-01-01",
)  # fmt: skip


def mutate_text(text: str, rng: random.Random) -> str:
    """The text with pieces, words, numbers or lines changed."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = rng.choice((_insert, _delete, _number, _word, _line))(text, rng)
    return text


def _insert(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(_PIECES) + text[at:]


def _delete(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.choice((1, 3, 30)) :]


def _number(text: str, rng: random.Random) -> str:
    """A digit becomes another number."""
    places = [place for place, character in enumerate(text) if character.isdecimal()]
    if not places:
        return text
    at = rng.choice(places)
    return text[:at] + rng.choice(("0", "-1", "1e999", "99999999999999999999", "1.5", "nan", "x", "")) + text[at + 1 :]


def _word(text: str, rng: random.Random) -> str:
    """A word becomes another one of the text."""
    words = text.split()
    return text.replace(rng.choice(words), rng.choice((*words, *_PIECES)), 1) if words else text


def _line(text: str, rng: random.Random) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    change = rng.randrange(3)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(at, lines[other])
    else:
        lines[at], lines[other] = lines[other], lines[at]
    return "".join(lines)


def mutate_json(value: Any, rng: random.Random) -> Any:
    """The value with one of those within it replaced, removed or added."""
    copy = json.loads(json.dumps(value))
    places: list[tuple[Any, Any]] = []
    todo = [copy]
    while todo:
        here = todo.pop()
        inner = here.items() if isinstance(here, dict) else enumerate(here) if isinstance(here, list) else ()
        for key, each in inner:
            places.append((here, key))
            todo.append(each)
    if not places or rng.random() < 0.05:
        return rng.choice(STRANGE)
    holder, key = rng.choice(places)
    if rng.random() < 0.15:
        del holder[key]
    else:
        holder[key] = rng.choice(STRANGE)
    return copy


def mutate_journal(content: bytes, rng: random.Random) -> bytes:
    """A journal with a record changed, under a checksum that holds."""
    lines = content.splitlines()
    at = rng.randrange(len(lines))
    record = json.loads(lines[at].partition(b" ")[2])
    for _ in range(rng.choice((1, 1, 3))):
        record = mutate_json(record, rng)
    body = json.dumps(record).encode()
    lines[at] = b"%08x %s" % (zlib.crc32(body), body)
    return b"\n".join(lines) + b"\n"


def edit_data_base(path: Path, rng: random.Random) -> str:
    """Change values of a data base by SQL, whatever its tables say of types; returns what was changed."""
    told = []
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints=ON")
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = [table for table in sorted(tables) if db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone()]
        for _ in range(rng.choice((1, 1, 2, 5))):
            table = rng.choice(filled)
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            rows = db.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall()
            if not rows:
                continue
            (old,), new = rng.choice(rows), rng.choice(_IN_SQL)
            if isinstance(old, str) and old.startswith(("{", "[")) and rng.random() < 0.5:
                with suppress(ValueError):  # it may be what an edit before has made of it
                    new = json.dumps(mutate_json(json.loads(old), rng))
            try:
                changed = db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} IS ?", (new, old)).rowcount
            except (sqlite3.IntegrityError, sqlite3.DataError, ValueError):
                continue  # what must be there, or must be there once, is; and what is no JSON cannot be changed as such
            told.append(f"{table}.{column}: {str(old)[:40]!a} -> {str(new)[:40]!a} in {changed} rows")
    return "; ".join(told)
