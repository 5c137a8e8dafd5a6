"""Write one list of a session's frames, and the .json beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_file, atomic_path
from photon_triage.core.common.containment import require_folder
from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.formats import FORMATS, ListFormat, fitting
from photon_triage.core.export.list_content import ExportRow, ListContent, Options, Select, Selection, stem_of
from photon_triage.core.export.manifest import build_manifest, manifest_bytes, manifest_path
from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.decisions.matching import LabelMatcher
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import EVERY_FRAME
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import Counts, FileRow, FrameRow


@dataclass(frozen=True, slots=True)
class Exported:
    """A list that was written: its path, that of the .json beside it, and how many frames stand in it.

    changed: labels that did not count, for their frames have changed since.
    """

    path: Path
    manifest_path: Path
    written: int
    changed: int = 0


def export(
    session: Session,
    format: str,
    select: Select,
    threshold: float,
    output: Path,
    incomplete: bool = False,
    *,
    options: Options = Options(),  # noqa: B008  # frozen
    only: frozenset[FrameKey] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a list and the .json beside it, each whole or not at all.

    A list holds what is selected, frames or candidates, in the order of path, data set and index; a format of frames
    holds the frames that selected candidates are on. Of a format with one list for each input file, an output with a
    suffix is the list of the only file with something selected; one without is a folder of lists. only: keeps these
    frames and candidates alone; origin: what the .json says of where they come from. Raises ExportError where nothing
    has been read, where frames are still unread (unless `incomplete`), where the recipe has nothing for the format or
    predicts nothing, where a name does not fit the format, or where the list cannot be written.
    """
    output = output.expanduser().absolute()
    recipe, selection = session.recipe(), Selection(select, threshold, only)
    kind = _format(session, recipe, format, select)
    _refuse_unscored(session, recipe, select)
    reader = session.results()
    try:
        with reader.snapshot():  # what is counted first is what is written then
            counts = reader.counts()
            _refuse_unfinished(session, counts, incomplete)
            files, models, book = reader.files(), reader.scoring_models(), session.labels()
            content = _content(reader, recipe, kind, selection, book.labels, files, options)
            manifest = build_manifest(
                session,
                list_format=format,
                selection=selection,
                counts=counts,
                files=files,
                models=models,
                labels=book.labels.values(),
                conflicts=len(book.conflicts),
                unknown_labels=content.unknown_labels,
                changed_labels=len(book.changed),
                written=len(content),
            )
            _refuse_link(session, output)
            return _write(kind, content, output, manifest | (dict(origin) if origin else {}), len(book.changed))
    finally:
        reader.close()


def _refuse_taken(output: Path, folder: bool) -> None:
    if folder and output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ExportError(
            f"Could not write the folder {output}: something stands there already.",
            "Name a folder that is not there yet, or remove the old one.",
        )
    if not folder and output.is_dir():
        raise ExportError(f"Could not write the list {output}: it is a folder.", "Name a file.")


def _refuse_link(session: Session, output: Path) -> None:
    """Raise ExportError where a list would leave the session by a link of its own."""
    if not output.absolute().is_relative_to(session.path):
        return
    try:
        require_folder(output.absolute().parent, session.path)
    except OSError as error:
        raise ExportError(f"Could not write {output}: {error.strerror}.", "Name a file elsewhere.") from error


def _write(kind: ListFormat, content: ListContent, output: Path, manifest: dict[str, Any], changed: int) -> Exported:
    folder = not kind.suffix or (kind.each and not output.suffix)
    beside = manifest_path(output)
    _refuse_taken(output, folder)
    try:
        with atomic_file(beside) as manifest_file, atomic_path(output, folder=folder) as place:
            details = _write_each(kind, content, place) if kind.each and folder else _write_one(kind, content, place)
            manifest_file.write(manifest_bytes(manifest | ({"details": details} if details else {})))
    except OSError as error:
        raise ExportError(
            f"Could not write {output}: {error.strerror or error}.", "Choose a folder that exists and has space."
        ) from error
    except UnicodeEncodeError as error:
        raise ExportError(
            f"Could not write {output}: {error.object!a} cannot be written as text.", "Rename that file."
        ) from error
    return Exported(output, beside, len(content), changed)


def _write_one(kind: ListFormat, content: ListContent, place: Path) -> dict[str, Any]:
    if not kind.each:
        return kind.load()(content, place)
    each = [of_file for _, of_file in content.by_file()]
    chosen = [of_file for of_file in each if len(of_file)] or each
    if len(chosen) != 1:
        raise ExportError(
            f"Could not write one list as {kind.name}: it would be of {len(chosen)} files, and the format has one list "
            "for each.",
            f"Name a folder as the output, without a suffix such as {kind.suffix}: a list for each file goes into it.",
        )
    return kind.load()(chosen[0], place)


def _write_each(kind: ListFormat, content: ListContent, folder: Path) -> dict[str, Any]:
    """A list for each file with something selected, by the file's name, numbered where two names are equal."""
    lists: list[dict[str, Any]] = []
    taken: set[str] = set()
    for file, of_file in content.by_file():
        if not len(of_file):
            continue
        stem = name = stem_of(file.path)
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        details = kind.load()(of_file, folder / f"{name}{kind.suffix}")
        lists.append({"list": f"{name}{kind.suffix}", "of": file.path, "written": len(of_file)} | details)
    return {"lists": lists}


def _content(
    reader: ResultsReader,
    recipe: Recipe,
    kind: ListFormat,
    selection: Selection,
    labels: Mapping[FrameKey, Label],
    files: Sequence[FileRow],
    options: Options,
) -> ListContent:
    """What a list is written from; its rows are read from the results as they are written."""
    frames = reader.frames(recipe.unit)
    matcher = LabelMatcher(labels, recipe.label_radius)
    simulated = {row.path for row in files if row.simulated}

    def labelled(rows: Iterable[FrameRow]) -> Iterator[ExportRow]:
        for row in rows:
            yield ExportRow(row, matcher.of(row.key), row.key.file in simulated)

    def every(paths: Iterable[str] | None) -> Iterator[ExportRow]:
        return labelled(frames.select(files=paths))

    def selected(paths: Iterable[str] | None) -> Iterator[ExportRow]:
        rows = labelled(frames.select(selection.filter, selection.besides(labels), files=paths))
        return (row for row in rows if selection.holds(row.frame, row.label))

    with_label = sum(row.label is not None for row in labelled(frames.select(None, labels)))
    chosen, everything = selected, selection.filter if recipe.unit == "frames" else None
    if kind.lists == "frames" and recipe.unit == "candidates":
        on = {row.frame.key.frame for row in selected(None)}
        frames = reader.frames()
        everything = EVERY_FRAME if selection.select == "all" and selection.only is None else None

        def on_frames(paths: Iterable[str] | None) -> Iterator[ExportRow]:
            return labelled(frames.select(everything, on, files=paths))

        chosen = on_frames
    ledger, there = {row.path: row for row in files}, frames.files()
    return ListContent(
        chosen,
        every,
        frames.counts() if everything == EVERY_FRAME else Counter(row.frame.key.file for row in chosen(None)),
        {path: ledger[path] for path in sorted(there & ledger.keys())},
        len(labels) - with_label,
        selection,
        recipe,
        reader,
        options,
    )


def _format(session: Session, recipe: Recipe, name: str, select: Select) -> ListFormat:
    """The format of that name; raises ExportError where the session has nothing for it."""
    kind = FORMATS.get(name)
    if kind is None:
        raise ExportError(
            f"Could not export as {name!a}: there is no such format.", f"Formats are {', '.join(FORMATS)}."
        )
    if misfit := kind.misfit(recipe):
        raise ExportError(
            f"Could not export {session.path} as {name}: its recipe {recipe.name} {misfit}.",
            f"Formats that fit this session are {_names(fitting(recipe))}.",
        )
    if select == "all" and kind.hides_poor_ones:
        others = [each for each in fitting(recipe) if each.scores and each.lists == kind.lists]
        raise ExportError(
            f"Could not export everything as {name}: it has no scores, so nothing would tell the poor ones apart.",
            f"Export with --select both, or as one of {_names(others)}.",
        )
    return kind


def _names(kinds: Iterable[ListFormat] | Sequence[ListFormat]) -> str:
    return ", ".join(kind.name for kind in kinds)


def _refuse_unscored(session: Session, recipe: Recipe, select: Select) -> None:
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
