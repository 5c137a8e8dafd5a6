"""CSV tables as spreadsheets, pandas and people write them: encoding, separator, header, and rows with their lines."""

from __future__ import annotations

import csv
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import StringIO
from typing import cast

from photon_triage.core.common.text_safety import plain_cell
from photon_triage.core.frames import HIGHEST_INDEX
from photon_triage.core.session.decisions.label_records import VERDICTS, Verdict

ACCEPTED_CLASS = "single"
"""Where a table gives a class and no verdict, this one is accepted and every other rejected."""

WORDS: dict[str, str] = {"accept": "accepted", "reject": "rejected", "skip": "skipped"} | {
    word: word for word in VERDICTS
}
"""Verdicts as they may be written, upper and lower case alike."""

CLOCK_S = 3600.0
"""How far ahead of this machine's clock a time may lie: the clocks of two machines differ by less."""

EARLIEST_UNIX = 631_152_000.0
"""1990, in seconds since 1970. A number below is a year or a day, and no Unix time of a label."""

LARGEST_POINT = 1_000_000
"""Pixels: no detector is as wide."""

LONGEST_NAME, LONGEST_PATH = 255, 4095
"""Bytes of a name and of a path on Linux."""

_INDEX = re.compile(r"([0-9]+)([.,]0+)?")
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")

SEPARATORS = ",;\t"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def index_of(cell: str, first: int = 0) -> int:
    """The index, from 0, of a cell that counts from `first`; 12.0, as pandas writes it, is 12. Raises ValueError."""
    found = _INDEX.fullmatch(cell.strip())
    if not found or len(found[1]) > 18 or not first <= int(found[1]) <= HIGHEST_INDEX:
        allowed = f"{first}, {first + 1}, ... {HIGHEST_INDEX}"
        raise ValueError(f"got {_short(cell)} for index, allowed: whole numbers {allowed}")
    return int(found[1]) - first


def verdict_of(cell: str, category: str) -> Verdict:
    """The verdict of a cell, or, where it is empty, of the class. Raises ValueError."""
    word, category = cell.strip().lower(), category.strip().lower()
    if not word and category:
        return "accepted" if category == ACCEPTED_CLASS else "rejected"
    if word not in WORDS:
        raise ValueError(f"got {_short(cell)} for verdict, allowed: {', '.join(VERDICTS)}")
    return cast("Verdict", WORDS[word])


def time_of(cell: str, now: float | None = None) -> float:
    """Seconds since 1970 of a cell in ISO 8601, UTC unless it names a zone, or of a Unix time. Raises ValueError."""
    text = cell.strip()
    seconds = _unix_time(text)
    if seconds is None:
        try:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            allowed = "ISO 8601 as in 2026-03-01T12:00:00Z, or seconds since 1970"
            raise ValueError(f"got {_short(cell)} for time, allowed: {allowed}") from None
    if seconds < 0:
        raise ValueError(f"got {_short(cell)} for time, which is before 1970")
    ahead = seconds - (time.time() if now is None else now)
    if ahead > CLOCK_S:
        how_far = f"{ahead / 3600:.0f} hours" if ahead < 1e7 else f"{ahead / 3.15576e7:.3g} years"
        raise ValueError(
            f"got {_short(cell)} for time, {how_far} ahead of this machine's clock; "
            "a time without a zone, such as +09:00, is UTC, and Unix times are seconds"
        )
    return seconds


def point_of(x: str, y: str) -> tuple[int, int] | tuple[()]:
    """The nearest pixel of a candidate, none for two empty cells. Raises ValueError."""
    if not x.strip() and not y.strip():
        return ()
    try:
        found = round(float(x)), round(float(y))
    except (ValueError, OverflowError):
        raise ValueError(f"got {_short(x)}, {_short(y)} for x, y, allowed: two numbers, or both empty") from None
    if not all(0 <= place <= LARGEST_POINT for place in found):
        raise ValueError(f"got {_short(x)}, {_short(y)} for x, y, allowed: pixels, 0 to {LARGEST_POINT}")
    return found


def file_of(cell: str, folder: str) -> str:
    """The path of a cell; a relative one starts at `folder`. Raises ValueError where no file can have it."""
    if not cell:
        raise ValueError("the file is empty")
    path = cell if os.path.isabs(cell) else os.path.normpath(os.path.join(folder, cell))  # noqa: PTH117, PTH118
    try:
        names = [os.fsencode(name) for name in path.split("/")]
    except UnicodeEncodeError:
        names = [b"\0"]
    if any(b"\0" in name for name in names):
        raise ValueError(f"got {_short(cell)} for file, which holds characters that no file name can have")
    if max(map(len, names)) > LONGEST_NAME or sum(map(len, names)) + len(names) - 1 > LONGEST_PATH:
        raise ValueError(f"got {_short(cell)} for file, which is longer than a file name can be")
    if _WINDOWS.match(cell) and not os.path.lexists(path):
        raise ValueError(f"got {_short(cell)} for file, a path of Windows; allowed: paths of this machine")
    return path


class TableError(ValueError):
    """A table cannot be read; `line` says where, 0 for the whole of it."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row that is not empty: the line it begins on, its cells by column, and whether its end may be missing."""

    line: int
    cells: Mapping[str, str]
    is_torn: bool


def decode_table(content: bytes) -> str:
    """The text of a table: UTF-8, or what its byte order mark says.

    Bytes that are not UTF-8 become surrogates, so that a file name keeps its bytes; see `latin1`. Raises TableError.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content.decode(encoding)
            except UnicodeDecodeError as error:
                raise TableError(
                    0, f"its byte order mark says {encoding.upper()}, and it is not ({error.reason})"
                ) from None
    text = content.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise TableError(line, "it holds a NUL character; save it as UTF-8, or as UTF-16 with a byte order mark")
    return text


def latin1(cell: str) -> str:
    """A cell whose bytes are not UTF-8, read as Latin-1."""
    return os.fsencode(cell).decode("latin-1") if _has_surrogates(cell) else cell


def table_rows(text: str, columns_of: Callable[[list[str]], list[str]]) -> Iterator[TableRow]:
    """The rows below the header; `columns_of` names the columns by the header's cells, "" for those not wanted.

    The separator is the one that a first line `sep=;` names, else the commonest of `SEPARATORS` in the header. Where
    the cells of the header stand between blanks or in quotes after a blank, blanks around all cells do not count.
    Raises TableError for a row with more cells than the header, and what `columns_of` raises as ValueError.
    """
    text, separator, before = _separator(text)
    blanks = _has_blanks(text, separator)
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=blanks)
    names: list[str] | None = None
    waiting: TableRow | None = None
    line = before + 1
    try:
        for raw in reader:
            begun, line = line, before + reader.line_num + 1
            cells = [cell.strip() for cell in raw] if blanks else raw
            if not "".join(cells).strip():
                continue
            if names is None:
                names = _named(begun, cells, columns_of)
                continue
            if waiting:
                yield waiting
            waiting = TableRow(begun, _row(begun, cells, names), is_torn=False)
    except csv.Error as error:
        raise TableError(line, str(error)) from None
    if names is None:
        raise TableError(0, "it is empty")
    if waiting:
        yield TableRow(waiting.line, waiting.cells, is_torn=not text.endswith(("\n", "\r")))


def _unix_time(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if seconds >= EARLIEST_UNIX and math.isfinite(seconds) else None


def _short(cell: str) -> str:
    return ascii(cell if len(cell) <= 100 else f"{cell[:97]}...")


def _separator(text: str) -> tuple[str, str, int]:
    """The text without a line `sep=;` before it, the separator, and the number of lines left out."""
    first, end, rest = text.partition("\n")
    word, equals, named = first.rstrip("\r").strip('"').partition("=")
    if word.strip().lower() == "sep" and equals and len(named) == 1:
        return rest, named, bool(end)
    # A header's cells may hold separators of another kind within quotes; the commonest one decides.
    header = next((line for line in StringIO(text, newline=None) if line.strip()), "")
    return text, max(SEPARATORS, key=header.count), 0


def _has_blanks(text: str, separator: str) -> bool:
    header = next((line for line in StringIO(text, newline=None) if line.strip(separator + " \n")), "").rstrip("\n")
    cells = next(csv.reader([header], delimiter=separator), [])
    return any(cell != cell.strip() for cell in cells)


def _named(line: int, cells: list[str], columns_of: Callable[[list[str]], list[str]]) -> list[str]:
    try:
        return columns_of(cells)
    except ValueError as error:
        raise TableError(line, str(error)) from None


def _row(line: int, cells: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    if len(cells) > len(names) and any(cell.strip() for cell in cells[len(names) :]):
        raise TableError(
            line, f"it has {len(cells)} cells where the header has {len(names)}; quote cells that hold the separator"
        )
    return {name: plain_cell(cell) for name, cell in zip(names, cells, strict=False) if name}


def _has_surrogates(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell)
