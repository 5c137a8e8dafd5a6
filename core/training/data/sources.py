"""Sources of labels for a training: decided here, imported, simulated, and on request those of the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey, as_counts
from photon_triage.core.session.decisions.labels import Label, LabelBook
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.session.store.frames import read_pixels
from photon_triage.core.sources import FrameReader
from photon_triage.core.training.data.images import Image
from photon_triage.core.training.loop.runs import TrainingRun

LABELS, IMPORTED, SIMULATED = "labels", "imported", "simulated"
SOURCES: tuple[str, ...] = (LABELS, IMPORTED, SIMULATED, AUDIT)
DEFAULT_SOURCES = (LABELS, IMPORTED)
CHANGED = "changed frames"
"""Among what is left out: labels of frames that have changed since they were given."""
WHAT = {
    LABELS: "decided on the screen in this session",
    IMPORTED: "taken over by `labels import`",
    SIMULATED: "frames simulated for the session's geometry",
    AUDIT: "decided in the audit, which else judges",
}


def readable_frames(keys: Iterable[FrameKey], session: Session) -> Iterator[tuple[FrameKey, Image]]:
    """The frames that can still be read."""
    with FrameReader(roots=session.recipe().source.roots) as reader:
        for part in read_pixels(reader, keys, at_once=1, failed=lambda keys, error: None):
            (key,), (pixels,) = part.keys, as_counts(part.pixels, part.valid)
            usable = np.isfinite(pixels) if part.valid is None else np.isfinite(pixels) & part.valid
            yield key, Image(key, pixels, usable, part.info.simulated)


def runs_of(session: Session, keys: Iterable[FrameKey]) -> tuple[str, ...]:
    """The run of every frame, (n,); "" where the engine has not seen its file."""
    known: dict[str, str] = {}
    if session.results_path.exists():
        with closing(session.results()) as reader:
            known = {file.path: file.run for file in reader.files()}
    return tuple(known.get(key.file, "") for key in keys)


@dataclass(frozen=True)
class TrainingLabels:
    """The labels that a training learns from, the source of each by its key, and how many of each were left out."""

    labels: tuple[Label, ...]
    source: Mapping[FrameKey, str]
    left_out: Mapping[str, int]

    def counts(self, keys: Iterable[FrameKey]) -> dict[str, int]:
        """How many of these come from each source."""
        return dict(Counter(self.source.get(key, SIMULATED) for key in keys))


def checked_sources(names: Sequence[str]) -> tuple[str, ...]:
    """The names, if all are sources, in their usual order; raises TrainingError that says which there are."""
    unknown = [name for name in names if name not in SOURCES]
    if unknown or not names:
        told = "; ".join(f"{name}: {WHAT[name]}" for name in SOURCES)
        raise TrainingError(f"Could not train from {', '.join(unknown) or 'nothing'}.", f"Allowed: {told}.")
    return tuple(name for name in SOURCES if name in names)


def source_of(label: Label) -> str:
    """From which source a label is."""
    if label.queue == AUDIT:
        return AUDIT
    return IMPORTED if label.imported else LABELS


def choose(labels: Iterable[Label], wanted: Sequence[str]) -> TrainingLabels:
    """The labels of these sources. Those of the audit judge models, and teach only where they are asked for."""
    found = [(label, source_of(label)) for label in labels]
    left_out = Counter(source for label, source in found if source not in wanted and label.verdict != "skipped")
    chosen = [(label, source) for label, source in found if source in wanted]
    return TrainingLabels(
        tuple(label for label, _ in chosen), {label.key: source for label, source in chosen}, dict(left_out)
    )


def chosen_labels(session: Session, run: TrainingRun, wanted: Sequence[str]) -> TrainingLabels:
    """The labels of a session as they were when the training began.

    Raises TrainingError where all were left out, and where frames of a training that goes on have changed meanwhile.
    """
    book = session.labels()
    now = choose(book.labels.values(), wanted)
    labels = run.labels(now.labels)
    if others := sum(_is_of_other_bytes(label, book) for label in labels):
        raise TrainingError(
            f"Could not go on with the training in {run.folder}: {others} of the frames that it learns from have "
            "changed since it began.",
            "Begin anew with --anew; labels of changed frames are left out until they are decided again.",
        )
    lapsed = sum(label.verdict != "skipped" for label in book.changed.values())
    left_out = dict(now.left_out) | ({CHANGED: lapsed} if lapsed else {})
    noted = run.noted({"sources": [source_of(label) for label in now.labels], "left_out": left_out})
    chosen = TrainingLabels(
        tuple(labels),
        {label.key: source for label, source in zip(labels, noted["sources"], strict=True)},
        noted["left_out"],
    )
    if not labels and chosen.left_out and SIMULATED not in wanted:
        told = ", ".join(f"{count} of {name}" for name, count in chosen.left_out.items())
        raise TrainingError(
            f"Could not train on {session.path}: it has no labels from {', '.join(wanted)}; left out were {told}.",
            f"Name what to learn from with --from: {', '.join(SOURCES)}; decide changed frames again on a screen: s, "
            "then changed.",
        )
    return chosen


def _is_of_other_bytes(label: Label, book: LabelBook) -> bool:
    """Tell whether a label that a training began with was given on other bytes than its frame has now."""
    now = book.labels.get(label.key)
    return label.key in book.changed or bool(now and now.digest and label.digest and now.digest != label.digest)
