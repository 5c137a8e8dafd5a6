"""Text that came from a file, made safe for terminals, pages and spreadsheets."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

_RISKY = ("'", "=", "+", "-", "@", "\t", "\r")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")
_TO_QUOTE = re.compile(r"(?:^|,)['=+\-@\t\r]|[\"\r\n]")
"""In a line of plain cells: where one begins like a formula, or holds what must stand in quotes."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c\u2028\u2029\ud800-\udfff]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def quoted_cell(text: str) -> str:
    """The text with a leading ' where a spreadsheet would run it: it begins with = + - @ TAB CR and is no number.

    A text that looks quoted already gets one more, so that plain_cell gives back every text.
    """
    if text.startswith(_RISKY) and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def plain_cell(cell: str) -> str:
    """The text that quoted_cell was given."""
    return cell[1:] if _QUOTED.match(cell) else cell


def csv_lines(rows: Iterable[Sequence[str]]) -> Iterable[bytes]:
    """Rows of text as lines of a CSV table, quoted for spreadsheets.

    Bytes of a file name that are not UTF-8 come out as they are on disk. Other surrogates raise UnicodeEncodeError.
    """
    line = StringIO(newline="")
    # The writer puts quotes around a CR only where its own lines end with one.
    writer = csv.writer(line, lineterminator="\r\n")
    for row in rows:
        joined = ",".join(row)
        if len(row) > 1 and joined.count(",") == len(row) - 1 and not _TO_QUOTE.search(joined):
            yield joined.encode("utf-8", "surrogateescape") + b"\n"  # nearly every line, and twice as fast
            continue
        line.seek(0)
        line.truncate()
        writer.writerow([quoted_cell(text) for text in row])
        yield line.getvalue().removesuffix("\r\n").encode("utf-8", "surrogateescape") + b"\n"


def safe_text(s: str) -> str:
    """The text with everything that could steer a terminal shown as a visible escape.

    C0, DEL, C1, bidirectional controls, line separators and surrogates (bytes of a name that are not UTF-8) are
    replaced; everything else stays as it is.
    """
    return _UNSAFE.sub(_escape, s)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
