"""Lists that are text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_lines(path: Path, lines: Iterable[str | bytes]) -> None:
    """Write lines without their ends, or bytes with them; text as UTF-8, file names as they are on disk.

    Raises OSError, UnicodeEncodeError for what cannot be written as text.
    """
    with path.open("xb") as file:
        file.writelines(
            line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape") + b"\n" for line in lines
        )
