"""The .json beside a list: where it comes from, and what is not in it."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from photon_triage.core.common.containment import read_bytes
from photon_triage.core.export.list_content import SIMULATED, Selection
from photon_triage.core.session.decisions.label_files import iso_time
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.file_notes import group_notes
from photon_triage.core.session.store.rows import Counts, FileRow

SKIPPED = (FileStatus.MISSING, FileStatus.UNREADABLE, FileStatus.WAITING)
"""Status of files whose frames are not all in a list."""


def manifest_path(output: Path) -> Path:
    """The name of the .json beside a list."""
    return output.with_name(output.name + ".json")


def build_manifest(
    session: Session,
    *,
    list_format: str,
    selection: Selection,
    counts: Counts,
    files: Iterable[FileRow],
    models: Mapping[str, int],
    labels: Iterable[Label],
    conflicts: int,
    unknown_labels: int,
    changed_labels: int,
    written: int,
) -> dict[str, Any]:
    """What a list's .json says.

    models: frames scored by each. conflicts: frames that people judge differently. unknown_labels: labels of frames
    that the engine has not read. changed_labels: labels of frames that have changed since. written: frames in the list.
    """
    text = read_bytes(session.recipe_path, session.path)
    rows = list(files)
    verdicts = Counter(label.verdict for label in labels)
    manifest: dict[str, Any] = {
        "product": "photon-triage",
        "version": version("photon-triage"),
        "time": iso_time(time.time()),
        "session": str(session.path),
        "format": list_format,
        "select": selection.select,
        "threshold": selection.threshold,
        "recipe": {"name": session.recipe().name, "sha256": hashlib.sha256(text).hexdigest()},
        "models": [{"name": name, "frames": frames} for name, frames in sorted(models.items())],
        "frames": {
            "seen": counts.frames + counts.pending + counts.dropped,
            "processed": counts.frames,
            "pending": counts.pending,
            "dropped": counts.dropped,
            "hits": counts.hits,
        },
        "files": {
            "seen": counts.files,
            "waiting": counts.waiting,
            "still_growing": sum(row.status is FileStatus.READING for row in rows),
            "unreadable": counts.unreadable,
            "missing": counts.missing,
            "noted": counts.noted,
        },
        "unreadable": [
            {"path": row.path, "reason": row.reason, "frames_lost": max(row.frames - row.done, 0)}
            for row in rows
            if row.status is FileStatus.UNREADABLE
        ],
        "skipped": [
            {"path": row.path, "status": row.status, "reason": row.reason, "frames": max(row.frames - row.done, 0)}
            for row in rows
            if row.status in SKIPPED
        ],
        "notes": [group.as_json() for group in group_notes(rows)],
        "labels": {
            "accepted": verdicts["accepted"],
            "rejected": verdicts["rejected"],
            "skipped": verdicts["skipped"],
            "conflicts": conflicts,
            "of_frames_not_read": unknown_labels,
            "of_changed_frames": changed_labels,
        },
        "complete": not (counts.pending or counts.waiting),
        "written": written,
        "simulated": counts.simulated,
    }
    if counts.simulated:
        manifest["note"] = SIMULATED
    return manifest


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as JSON text in ASCII, so that any name can stand in it."""
    return (json.dumps(manifest, indent=2) + "\n").encode("ascii")
