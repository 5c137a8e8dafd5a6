"""CSV tables as spreadsheets, pandas and people write them: encoding, separator, header, and rows with their lines."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from photon_triage.core.common.csv_safety import plain_cell

SEPARATORS = ",;\t"
_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


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
            if not any(cell.strip() for cell in cells):
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


def _separator(text: str) -> tuple[str, str, int]:
    """The text without a line `sep=;` before it, the separator, and the number of lines left out."""
    first, end, rest = text.partition("\n")
    word, equals, named = first.rstrip("\r").strip('"').partition("=")
    if word.strip().lower() == "sep" and equals and len(named) == 1:
        return rest, named, bool(end)
    # A header's cells may hold separators of another kind within quotes; the commonest one decides.
    header = next((line for line in text.splitlines() if line.strip()), "")
    return text, max(SEPARATORS, key=header.count), 0


def _has_blanks(text: str, separator: str) -> bool:
    header = next((line for line in text.splitlines() if line.strip(separator + " ")), "")
    cells = next(csv.reader([header], delimiter=separator), [])
    return any(cell != cell.strip() for cell in cells)


def _named(line: int, cells: list[str], columns_of: Callable[[list[str]], list[str]]) -> list[str]:
    try:
        return columns_of(cells)
    except ValueError as error:
        raise TableError(line, str(error)) from None


def _row(line: int, cells: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    if any(cell.strip() for cell in cells[len(names) :]):
        raise TableError(
            line, f"it has {len(cells)} cells where the header has {len(names)}; quote cells that hold the separator"
        )
    return {name: plain_cell(cell) for name, cell in zip(names, cells, strict=False) if name}


def _has_surrogates(cell: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in cell)
