"""What a report says, gathered from a session once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.audit.estimate import Estimates, estimate
from photon_triage.core.common.containment import read_json, regular_files
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Comparison, Curve, Estimate, confusion_at, curve, wilson
from photon_triage.core.recipe import Recipe, SizeStage
from photon_triage.core.session.decisions.labels import Label, LabelBook
from photon_triage.core.session.decisions.matching import labels_of, scores_of_points
from photon_triage.core.session.models.audit_estimate import audit_now
from photon_triage.core.session.models.catalog import ModelEntry, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState, FileStatus
from photon_triage.core.session.store.file_notes import NoteGroup, group_notes, ignored_note
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import Counts, FileRow, FrameRow

LARGEST_MANIFEST = 4_000_000
"""Bytes; what is larger is no manifest that this program wrote."""
SHEET_FRAMES = 24
"""Frames on a contact sheet."""
GIVEN_UP = (FileStatus.UNREADABLE, FileStatus.MISSING, FileStatus.WAITING)
NEAR = 500
"""Frames nearest to the threshold among which undecided ones are looked for."""
MEASURES = {
    "size": ("diameter_nm", "diameter / nm"),
    "spots": ("spots", "spots"),
    "lit-pixels": ("lit_pixels", "lit pixels"),
}
"""By the kind of a stage, what it measures and what that is called; the first that a recipe has is shown."""
Seat = Literal["conflict", "flag", "against the score", "near the threshold", ""]


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model: what it was made from and how it scored on what."""

    name: str
    in_use: bool
    frames: int
    """Frames that it scored in this session."""
    origin: str
    parent: str
    trained_on: str
    created: str
    scores: Mapping[str, Estimate]
    evaluated: int | None
    """How many frames, labels, objects or pixels it was scored on."""
    evaluated_on: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """A list that was written."""

    name: str
    time: str
    format: str
    select: str
    threshold: float | None
    written: int | None
    complete: bool | None


def model_facts(session: Session, reader: ResultsReader) -> tuple[ModelFacts, ...]:
    """The models that the session scored with, those that were trained in it, and the one in use."""
    scored = reader.scoring_models()
    in_use = reader.state().model or ""
    own = session_models(session.models_path)
    known = shipped_models() | own
    names = dict.fromkeys([*scored, *own, *([in_use] if in_use else [])])
    return tuple(_facts(name, known.get(name), scored.get(name, 0), name == in_use) for name in names)


def _facts(name: str, entry: ModelEntry | None, frames: int, in_use: bool) -> ModelFacts:
    metadata = entry.metadata if entry else {}
    data, scores = _table(metadata, "data"), _table(metadata, "scores")
    return ModelFacts(
        name,
        in_use,
        frames,
        entry.origin if entry else "not here",
        str(metadata.get("parent") or ""),
        str(data.get("trained_on", "")),
        str(metadata.get("created") or ""),
        {key: found for key in ("precision", "recall", "f1") if (found := _estimate(scores, key))},
        _whole(scores.get("n")),
        entry.evaluated_on if entry else "",
        bool(data.get("simulated")) or "imulated" in str(metadata.get("note", "")),
    )


def export_facts(folder: Path) -> tuple[ExportFacts, ...]:
    """What the .json files beside exported lists say, oldest first."""
    found = []
    for path in regular_files(folder, folder.parent, suffix=".json"):
        manifest = _read(path)
        if manifest is None or manifest.get("product") != "photon-triage":
            continue
        threshold = manifest.get("threshold")
        found.append(
            ExportFacts(
                path.name.removesuffix(".json"),
                str(manifest.get("time", "")),
                str(manifest.get("format", "")),
                str(manifest.get("select", "")),
                float(threshold) if isinstance(threshold, int | float) else None,
                _whole(manifest.get("written")),
                complete if isinstance(complete := manifest.get("complete"), bool) else None,
            )
        )
    return tuple(sorted(found, key=lambda each: each.time))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        loaded = read_json(path, path.parent, LARGEST_MANIFEST)
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _estimate(scores: Mapping[str, Any], name: str) -> Estimate | None:
    value, interval = scores.get(name), scores.get(f"{name}_interval")
    if not isinstance(value, int | float) or not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = interval
    return Estimate(value, low, high) if isinstance(low, int | float) and isinstance(high, int | float) else None


def _table(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass(frozen=True, slots=True)
class ReportRun:
    """A run: its frames, its hits with their rate, and how many frames of it were accepted."""

    name: str
    frames: int
    hits: int
    rate: Estimate
    accepted: int


@dataclass(frozen=True, eq=False)
class Sizes:
    """What a stage has measured of every hit.

    values: (n,) float64. scores: (n,) float64, NaN where there is none. window: what passes, where the stage says so.
    """

    title: str
    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    window: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class SheetFrame:
    """A frame on a contact sheet, what was said of it, and why it is doubtful."""

    row: FrameRow
    verdict: str
    why: Seat = ""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything on the page but the frames' pixels."""

    session: Session
    recipe: Recipe
    made: float
    begun: float | None
    counts: Counts
    threshold: float
    selected: int
    history: Sequence[tuple[float, int, int]]
    runs: tuple[ReportRun, ...]
    audit: Estimates | None
    """What frames drawn at random say of all frames; None where none of them is labelled."""
    agreement: Comparison
    curve: Curve
    recall_is_biased: bool
    verdicts: Mapping[str, int]
    classes: Mapping[str, int]
    people: Mapping[str, int]
    conflicts: int
    flagged: int
    sizes: Sizes | None
    models: tuple[ModelFacts, ...]
    exports: tuple[ExportFacts, ...]
    accepted: tuple[SheetFrame, ...]
    doubtful: tuple[SheetFrame, ...]
    given_up: tuple[FileRow, ...]
    notes: tuple[NoteGroup, ...]
    changed: int
    """Labels of frames that have changed since."""


def gather(session: Session) -> Report:
    """Read a session; another one may be writing to it.

    Raises SessionError where there are no results yet.
    """
    recipe, book = session.recipe(), session.labels()
    threshold = session.threshold(book)
    reader = session.results()
    try:
        counts, files = reader.counts(), reader.files()
        truth = {key: label.verdict == "accepted" for key, label in book.labels.items() if label.verdict != "skipped"}
        patches = recipe.patches
        frames = reader.frames()
        scores = frames.scores(truth) if patches is None else scores_of_points(truth, reader, patches.min_distance)
        history = reader.history()
        return Report(
            session=session,
            recipe=recipe,
            made=time.time(),
            begun=history[0][0] if history else None,
            counts=counts,
            threshold=threshold,
            selected=reader.listing(recipe.unit).selected_count(threshold),
            history=history,
            runs=_runs(reader, files, book),
            audit=_audit(session, book, threshold),
            agreement=confusion_at(scores, truth, threshold),
            curve=curve(scores, truth),
            recall_is_biased=patches is not None or _only_ranked(scores, frames.count() - len(scores)),
            verdicts=Counter(label.verdict for label in book.labels.values()),
            classes=dict(Counter(label.category for label in book.labels.values() if label.category).most_common()),
            people=dict(Counter(label.who for label in book.labels.values()).most_common()),
            conflicts=len(book.conflicts),
            flagged=len(book.flagged),
            sizes=_sizes(reader, recipe),
            models=model_facts(session, reader),
            exports=export_facts(session.exports_path),
            accepted=_accepted(reader, recipe, book),
            doubtful=_doubtful(reader, recipe, book, threshold),
            given_up=tuple(row for row in files if row.status in GIVEN_UP),
            notes=_notes(files, reader.state()),
            changed=len(book.changed),
        )
    finally:
        reader.close()


def _notes(files: Sequence[FileRow], state: EngineState) -> tuple[NoteGroup, ...]:
    """The notes on files, and on what was ignored in their folders."""
    ignored = ignored_note(state.ignored)
    return (*group_notes(files), *([NoteGroup(ignored, ())] if ignored else ()))


def _audit(session: Session, book: LabelBook, threshold: float) -> Estimates | None:
    found = audit_now(session, book)
    return estimate(found.sample, [threshold])[0] if found is not None and len(found.sample) else None


def _only_ranked(scores: Mapping[FrameKey, float | None], unlabelled: int) -> bool:
    """Tell whether only frames with a score were labelled, while there are others: then misses were not looked for."""
    return None not in scores.values() and unlabelled > 0


def _runs(reader: ResultsReader, files: Sequence[FileRow], book: LabelBook) -> tuple[ReportRun, ...]:
    run_of = {(row.path, row.dataset): row.run for row in files}
    accepted = Counter(
        run_of.get((label.key.file, label.key.dataset), "")
        for label in book.labels.values()
        if label.verdict == "accepted"
    )
    rows = []
    for run, frames, hits, _ in reversed(reader.runs()):
        bounds = wilson(hits, frames)
        rows.append(ReportRun(run, frames, hits, Estimate(hits / frames, bounds.low, bounds.high), accepted[run]))
    return tuple(rows)


def _sizes(reader: ResultsReader, recipe: Recipe) -> Sizes | None:
    by_kind = {stage.kind: stage for stage in recipe.stages}
    kind = next((kind for kind in MEASURES if kind in by_kind), None)
    if kind is None:
        return None
    name, title = MEASURES[kind]
    found = np.array(reader.measured(name), dtype=np.float64).reshape(-1, 2)
    stage = by_kind[kind]
    window = (stage.min_diameter_nm, stage.max_diameter_nm) if isinstance(stage, SizeStage) else None
    return Sizes(title, found[:, 0], found[:, 1], window)


def _accepted(reader: ResultsReader, recipe: Recipe, book: LabelBook) -> tuple[SheetFrame, ...]:
    """Accepted frames drawn at random, always the same of the same labels, the highest score first."""
    keys = sorted((key for key, label in book.labels.items() if label.verdict == "accepted"), key=attrgetter("frame"))
    drawn = random.Random(0).sample(keys, len(keys))
    shown: list[SheetFrame] = []
    for key in drawn:
        row = _row(reader, recipe, key)
        if row is not None:
            shown.append(SheetFrame(row, "accepted"))
        if len(shown) == SHEET_FRAMES:
            break
    return tuple(sorted(shown, key=lambda each: -(each.row.score or 0.0)))


def _doubtful(reader: ResultsReader, recipe: Recipe, book: LabelBook, threshold: float) -> tuple[SheetFrame, ...]:
    """Where people differ, what they flagged, where they differ from the score, and what lies near the threshold."""
    shown: dict[int, SheetFrame] = {}

    def add(row: FrameRow | None, label: Label | None, why: Seat) -> bool:
        if row is not None and len(shown) < SHEET_FRAMES:
            shown.setdefault(row.id, SheetFrame(row, label.verdict if label else "undecided", why))
        return len(shown) < SHEET_FRAMES

    seats: tuple[tuple[set[FrameKey], Seat], ...] = ((book.conflicts, "conflict"), (book.flagged, "flag"))
    for keys, why in seats:
        for key in sorted(keys, key=attrgetter("frame")):
            if not add(_row(reader, recipe, key), book.labels.get(key), why):
                break
    listing = reader.listing(recipe.unit)
    edge = listing.selected_count(threshold)
    ranked = listing.id_array(hits_only=False, order="score")[max(edge - NEAR // 2, 0) : edge + NEAR // 2]
    near = list(listing.rows(ranked.tolist()).values())
    near.sort(key=lambda row: abs((row.score if row.score is not None else 2.0) - threshold))
    radius = recipe.label_radius
    labels = labels_of([row.key for row in near], book.labels, radius)
    for row in reversed(near):
        label = labels.get(row.key)
        if label is None or label.verdict == "skipped" or row.score is None or len(shown) >= SHEET_FRAMES // 2:
            continue
        if (label.verdict == "accepted") != (row.score >= threshold):
            add(row, label, "against the score")
    for row in near:
        if row.key not in labels and row.score is not None and not add(row, None, "near the threshold"):
            break
    return tuple(shown.values())


def _row(reader: ResultsReader, recipe: Recipe, key: FrameKey) -> FrameRow | None:
    return reader.frames(recipe.unit).nearest([key], recipe.label_radius).get(key)
