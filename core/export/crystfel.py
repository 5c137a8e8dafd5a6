"""CrystFEL event lists: `PATH //INDEX`, one frame a line."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photon_triage.core.errors import ExportError
from photon_triage.core.export.text import write_lines
from photon_triage.core.frames import FrameKey

if TYPE_CHECKING:
    from photon_triage.core.export.content import Content

LINE_LIMIT = 1023
"""A line with its end must be shorter than this, in bytes, for CrystFEL's reader to hold it."""


def write(content: Content, path: Path) -> dict[str, Any]:
    """The event list of the selected frames, or of those that selected candidates are on."""
    write_lines(path, event_lines(dict.fromkeys(row.frame.key.frame for row in content.rows)))
    return {}


def event_lines(keys: Iterable[FrameKey]) -> Iterator[bytes]:
    """The lines of an event list, as bytes of the file system's own names.

    A line is split at its last space, so a path may hold spaces. A TIFF file's pages are numbered the same way, and a
    single page is //0. Raises ExportError for a path that no line can carry.
    """
    for key in keys:
        yield _line(key)


def _line(key: FrameKey) -> bytes:
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in key.file):
        raise _refused(key, "its name holds a line break or another control character")
    if not Path(key.file).is_absolute():
        raise _refused(key, "its path is not absolute")
    try:
        line = os.fsencode(key.file) + b" //%d\n" % key.index
    except UnicodeEncodeError as error:
        raise _refused(key, "its name cannot be written as text") from error
    if len(line) >= LINE_LIMIT:
        raise _refused(key, f"its line takes {len(line)} bytes, and must take less than {LINE_LIMIT}")
    return line


def _refused(key: FrameKey, reason: str) -> ExportError:
    return ExportError(
        f"Could not list frame {key.index} of {key.file} for CrystFEL: {reason}.",
        "Rename or link the file, watch it under that name, and export again; or export as csv.",
    )
