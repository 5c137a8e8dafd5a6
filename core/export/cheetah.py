"""OM's and Cheetah's frames.txt (every frame) and cleaned.txt (the hits), which later steps read by their columns.

Source: src/om/lib/cheetah.py of github.com/omdevteam/om, CheetahListFilesWriter: a header line that begins with `#`,
then `timestamp, event_id, hit, filename, index, num_peaks, ave_intensity` a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from photon_triage.core.export.content import SIMULATED, Content, plain_name
from photon_triage.core.export.crystfel import event_names
from photon_triage.core.export.table import TableRow
from photon_triage.core.export.text import write_lines
from photon_triage.core.frames import FrameKey

HEADER = "# timestamp, event_id, hit, filename, index, num_peaks, ave_intensity"
NO_PEAKS = -1
"""Where the recipe has no stage that counts peaks."""


def write(content: Content, path: Path) -> dict[str, Any]:
    """The two lists, in a folder; a frame is a hit when it is selected.

    timestamp: when the frame was triaged, Unix time in s. num_peaks: spots, or NO_PEAKS. ave_intensity: nan, for no
    stage measures the peaks' intensity. Raises ExportError for a name with a comma or a line break.
    """
    hits = {row.frame.key.frame for row in content.rows}
    events = event_names([row.frame.key for row in content.every], content.recipe.source.roots)
    write_lines(path / "frames.txt", _lines(content, content.every, hits, events))
    write_lines(path / "cleaned.txt", _lines(content, content.rows, hits, events))
    return {"num_peaks": f"{NO_PEAKS} where no stage counts peaks", "timestamp": "when triaged, Unix time in s"}


def _lines(
    content: Content, rows: Iterable[TableRow], hits: set[FrameKey], events: Mapping[FrameKey, str]
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
