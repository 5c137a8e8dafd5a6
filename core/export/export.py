"""Write one list of a session's frames, and the .json beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from photon_triage.core.atomic import atomic_file
from photon_triage.core.errors import ExportError
from photon_triage.core.export.crystfel import event_lines
from photon_triage.core.export.manifest import build_manifest, manifest_bytes, manifest_path
from photon_triage.core.export.selection import Select, Selection
from photon_triage.core.export.table import TableRow, table_lines
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.matching import labels_of
from photon_triage.core.session.rows import Counts, FrameRow
from photon_triage.core.session.session import Session

Format = Literal["crystfel", "csv"]
FORMATS: tuple[str, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Exported:
    """A list that was written: its path, that of the .json beside it, and how many frames stand in it."""

    path: Path
    manifest_path: Path
    written: int


def export(
    session: Session, format: Format, select: Select, threshold: float, output: Path, incomplete: bool = False
) -> Exported:
    """Write a list and the .json beside it, each whole or not at all.

    Both formats list what is selected, frames or candidates, in the order of path, data set and index. A CrystFEL list
    of candidates holds the frames that they are on. Raises ExportError where nothing has
    been read, where frames are still unread (unless `incomplete`), where the recipe predicts nothing, where a name does
    not fit the format, or where the list cannot be written.
    """
    output = output.expanduser().absolute()
    selection = Selection(select, threshold)
    _refuse_unscored(session, select)
    reader = session.results()
    try:
        counts = reader.counts()
        _refuse_unfinished(session, counts, incomplete)
        files, models = reader.files(), reader.scoring_models()
        frames = list(reader.listing(session.recipe().unit).all())
    finally:
        reader.close()
    book = session.labels()
    patches = session.recipe().patches
    labels = labels_of((frame.key for frame in frames), book.labels, patches.min_distance if patches else 0.0)
    simulated = {row.path for row in files if row.simulated}
    rows = [
        TableRow(frame, labels.get(frame.key), frame.key.file in simulated)
        for frame in sorted(frames, key=_place)
        if selection.holds(frame, labels.get(frame.key))
    ]
    lines = _LINES[format](rows)
    manifest = build_manifest(
        session,
        list_format=format,
        selection=selection,
        counts=counts,
        files=files,
        models=models,
        labels=book.labels.values(),
        conflicts=len(book.conflicts),
        unknown_labels=len(book.labels) - len(labels),
        written=len(rows),
    )
    beside = manifest_path(output)
    try:
        with atomic_file(beside) as manifest_file, atomic_file(output) as list_file:
            manifest_file.write(manifest_bytes(manifest))
            list_file.writelines(lines)
    except OSError as error:
        raise ExportError(
            f"Could not write {output}: {error.strerror or error}.", "Choose a folder that exists and has space."
        ) from error
    except UnicodeEncodeError as error:
        raise ExportError(
            f"Could not write {output}: {error.object!a} cannot be written as text.", "Rename that file."
        ) from error
    return Exported(output, beside, len(rows))


def _crystfel(rows: list[TableRow]) -> Iterable[bytes]:
    return event_lines(dict.fromkeys(row.frame.key.frame for row in rows))


def _csv(rows: list[TableRow]) -> Iterable[bytes]:
    return table_lines(rows, sorted({name for row in rows for name in row.frame.measures}))


_LINES: dict[Format, Callable[[list[TableRow]], Iterable[bytes]]] = {"crystfel": _crystfel, "csv": _csv}


def _place(frame: FrameRow) -> FrameKey:
    return frame.key


def _refuse_unscored(session: Session, select: Select) -> None:
    recipe = session.recipe()
    if select == "predicted" and not recipe.scores_frames:
        raise ExportError(
            f"Could not export the predicted frames of {session.path}: its recipe {recipe.name} has no stage that "
            "gives a score.",
            "Export with --select accepted, or begin a session whose recipe has a classify or spots stage.",
        )


def _refuse_unfinished(session: Session, counts: Counts, incomplete: bool) -> None:
    if counts.frames == 0:
        raise ExportError(
            f"Could not export from {session.path}: no frame of it has been read yet.",
            "Start the engine with `photon-triage watch PATH --session SESSION`, or wait for it.",
        )
    if incomplete or not (counts.pending or counts.waiting):
        return
    raise ExportError(
        f"Could not export from {session.path}: {counts.pending} frames are still unread and {counts.waiting} files "
        "are waited for.",
        "Wait for the engine, or export what there is with --incomplete.",
    )
