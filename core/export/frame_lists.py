"""Lists of frames for other programs: indices, Dragonfly's selections, CrystFEL's events and Cheetah's hits.

CrystFEL's lists hold one frame a line: `PATH //7`, or `//5/2` and `tag-123//` where a file has such frames.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError, SourceError
from photon_triage.core.export.list_content import SIMULATED, ExportRow, ListContent, plain_name, write_lines
from photon_triage.core.frames import FrameKey
from photon_triage.core.sources import FrameReader

USE_A_VECTOR = "Export as dragonfly-vector, which can say it."

LINE_LIMIT = 1023
"""A line with its end must be shorter than this, in bytes, for CrystFEL's reader to hold it."""

HEADER = "# timestamp, event_id, hit, filename, index, num_peaks, ave_intensity"
NO_PEAKS = -1
"""Where the recipe has no stage that counts peaks."""


def write_indices(content: ListContent, path: Path) -> dict[str, Any]:
    """The 0-based indices of one file's selected frames.

    Raises ExportError where h5toemc would fail on the list (one index alone) or take it for a vector.
    """
    file = content.only_file("dragonfly")
    indices = sorted({row.frame.key.index for row in content.rows})
    if len(indices) == 1:
        raise ExportError(
            f"Could not list one frame of {file.path} for Dragonfly: h5toemc fails on a list of one index.",
            USE_A_VECTOR,
        )
    if len(indices) == file.frames and max(indices, default=2) < 2:
        raise ExportError(
            f"Could not list the {file.frames} frames of {file.path} for Dragonfly: h5toemc would take the indices "
            "for a 0/1 vector.",
            USE_A_VECTOR,
        )
    write_lines(path, [*_comments(content), *map(str, indices)])
    return {"first_index": 0, "frames_of_file": file.frames}


def write_vector(content: ListContent, path: Path) -> dict[str, Any]:
    """A 1 for each selected frame of one file and a 0 for each other, read or not.

    Raises ExportError for a file of one frame: h5toemc fails on one number alone.
    """
    file = content.only_file("dragonfly-vector")
    if file.frames < 2:
        raise ExportError(
            f"Could not list {file.path} for Dragonfly: it holds one frame, and h5toemc fails on one number alone.",
            "Convert it without a selection; export single-frame files as csv or crystfel.",
        )
    chosen = {row.frame.key.index for row in content.rows}
    write_lines(path, [*_comments(content), *("1" if index in chosen else "0" for index in range(file.frames))])
    return {"frames_of_file": file.frames}


def write_crystfel(content: ListContent, path: Path) -> dict[str, Any]:
    """The event list of the selected frames."""
    keys = [row.frame.key for row in content.rows]
    write_lines(path, event_lines(keys, event_names(keys, content.recipe.source.roots)))
    return {}


def event_lines(keys: Iterable[FrameKey], events: Mapping[FrameKey, str] | None = None) -> Iterator[bytes]:
    """The lines of an event list, as bytes of the file system's own names.

    events: what CrystFEL calls a frame where that is not // and its index. A line is split at its last space, so a path
    may hold spaces. A TIFF file's pages are numbered the same way, and a single page is //0. Raises ExportError for a
    path or an event that no line can carry.
    """
    known = events or {}
    for key in keys:
        yield _line(key, known.get(key, f"//{key.index}"))


def event_names(keys: Iterable[FrameKey], roots: Sequence[str]) -> dict[FrameKey, str]:
    """The events of frames in HDF5 files: more than an index where several axes count frames, or groups do.

    A frame whose file cannot be read has none. Raises ExportError where only the file knows it.
    """
    by_stack: dict[tuple[str, str], list[FrameKey]] = {}
    for key in keys:
        if key.dataset and ("%" in key.dataset or Path(key.file).is_file()):
            by_stack.setdefault((key.file, key.dataset), []).append(key)
    events: dict[FrameKey, str] = {}
    with FrameReader(roots=roots) as reader:
        for (path, dataset), some in by_stack.items():
            try:
                events |= zip(some, reader.events(path, dataset, [key.index for key in some]), strict=True)
            except SourceError as error:
                if "%" in dataset:
                    raise _refused(some[0], f"its event is named by the file, which cannot be read: {error}") from error
    return events


def write_cheetah(content: ListContent, path: Path) -> dict[str, Any]:
    """The two lists, in a folder; a frame is a hit when it is selected.

    timestamp: when the frame was triaged, Unix time in s. num_peaks: spots, or NO_PEAKS. ave_intensity: nan, for no
    stage measures the peaks' intensity. Raises ExportError for a name with a comma or a line break.
    """
    hits = {row.frame.key.frame for row in content.rows}
    events = event_names([row.frame.key for row in content.every], content.recipe.source.roots)
    write_lines(path / "frames.txt", _cheetah_lines(content, content.every, hits, events))
    write_lines(path / "cleaned.txt", _cheetah_lines(content, content.rows, hits, events))
    return {"num_peaks": f"{NO_PEAKS} where no stage counts peaks", "timestamp": "when triaged, Unix time in s"}


def _comments(content: ListContent) -> list[str]:
    return [f"# {SIMULATED}"] if content.simulated else []


def _line(key: FrameKey, event: str) -> bytes:
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in key.file + event):
        raise _refused(key, "its name holds a line break or another control character")
    if any(character.isspace() for character in event):
        raise _refused(key, f"its event {event} holds a space")
    if not Path(key.file).is_absolute():
        raise _refused(key, "its path is not absolute")
    try:
        line = os.fsencode(key.file) + b" " + os.fsencode(event) + b"\n"
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


def _cheetah_lines(
    content: ListContent, rows: Iterable[ExportRow], hits: set[FrameKey], events: Mapping[FrameKey, str]
) -> Iterable[str]:
    yield HEADER
    if content.simulated:
        yield f"# {SIMULATED}"
    for row in sorted(rows, key=lambda row: (row.frame.seen, row.frame.key)):
        key = row.frame.key
        event = plain_name(events.get(key, f"//{key.index}"), ",", "cheetah")
        name = plain_name(key.file, ",", "cheetah")
        peaks = int(row.frame.measures.get("spots", NO_PEAKS))
        yield f"{row.frame.seen!r}, {event}, {int(key in hits)}, {name}, {key.index}, {peaks}, nan"
