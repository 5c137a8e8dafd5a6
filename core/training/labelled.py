"""What operators decided in a session, as images to train on: candidates with their verdicts, accepted masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.errors import SourceError, TrainingError
from photon_triage.core.frames import FrameKey, as_counts
from photon_triage.core.session.labels import Label
from photon_triage.core.session.rows import ClassMap
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader
from photon_triage.core.training.classes import VOID
from photon_triage.core.training.images import Image
from photon_triage.core.training.objects import objects_at
from photon_triage.core.training.patches import Marked, Sites
from photon_triage.core.training.segmentation import Mapped

LEAST_LABELS = 10
GIVE_IMAGES = "Or train from files: --images with --masks or --points."

Point = tuple[int, int]


@dataclass(frozen=True, eq=False)
class LabelledCandidates:
    """Candidates with a verdict: the frames they are on, (n,) key, run and site, and whether accepted.

    unreachable: labels whose frame cannot be read any more. background: the same frames with the pixels that are far
    from anything that somebody labelled or a network found.
    """

    images: tuple[Image, ...]
    keys: tuple[FrameKey, ...]
    runs: tuple[str, ...]
    sites: Sites
    accepted: NDArray[np.bool_]
    unreachable: int
    background: tuple[Marked, ...]


def labelled_candidates(session: Session, labels: Iterable[Label], min_distance: float) -> LabelledCandidates:
    """Read the frames of candidates that were labelled in a session; skipped ones are left out.

    Raises TrainingError where there are too few.
    """
    points: dict[FrameKey, list[tuple[Point, bool]]] = defaultdict(list)
    labels = [label for label in labels if label.key.point and label.verdict != "skipped"]
    for label in labels:
        points[label.key.frame].append((_point(label), label.verdict == "accepted"))
    listed = _listed(session, points)
    images: list[Image] = []
    keys, sites, accepted, background = [], [], [], []
    for key, image in _frames(sorted(points), session):
        inside = [(point, verdict) for point, verdict in points[key] if _is_on(point, image)]
        keys += [key.at(*point) for point, _ in inside]
        sites += [(len(images), y, x) for (x, y), _ in inside]
        accepted += [verdict for _, verdict in inside]
        known = [point for point, _ in inside] + [point for point in listed[key] if _is_on(point, image)]
        objects = objects_at(known, image.shape, min_distance)
        background.append(Marked(image, objects, image.usable & (objects.numbers == 0)))
        images.append(image)
    if len(sites) < LEAST_LABELS:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(labels)} labelled candidates {len(sites)} can be read.",
            f"Accept and reject at least {LEAST_LABELS}. {GIVE_IMAGES}",
        )
    unreachable = len(labels) - len(sites)
    return LabelledCandidates(
        tuple(images),
        tuple(keys),
        runs_of(session, keys),
        np.array(sites, np.int64),
        np.array(accepted),
        unreachable,
        tuple(background),
    )


def accepted_masks(session: Session, labels: Iterable[Label]) -> tuple[list[Mapped], tuple[str, ...]]:
    """The frames whose segmentation was accepted, with it, and the names of its classes.

    Raises TrainingError where there are fewer than two, or where their classes differ.
    """
    accepted = [label.key for label in labels if label.verdict == "accepted" and not label.key.point]
    masks = _stored_masks(session, accepted)
    classes = {mask.classes for mask in masks.values()}
    if len(masks) < 2:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(accepted)} accepted frames {len(masks)} have a mask.",
            f"Accept at least two frames whose mask is right. {GIVE_IMAGES}",
        )
    if len(classes) > 1:
        raise TrainingError(
            f"Could not train on {session.path}: its accepted masks are of different classes.",
            f"Scan the frames with one model, and accept their masks again. {GIVE_IMAGES}",
        )
    mapped = []
    for key, image in _frames(sorted(masks), session):
        mask = masks[key]
        height, width = mask.values.shape
        window = (slice(mask.top, mask.top + height), slice(mask.left, mask.left + width))
        inner = Image(key, image.pixels[window], image.usable[window], image.simulated)
        mapped.append(Mapped(inner, np.where(inner.usable, mask.values, VOID).astype(np.uint8)))
    return mapped, classes.pop()


def runs_of(session: Session, keys: Iterable[FrameKey]) -> tuple[str, ...]:
    """The run of every frame, (n,); "" where the engine has not seen its file."""
    known: dict[str, str] = {}
    if session.results_path.exists():
        with closing(session.results()) as reader:
            known = {file.path: file.run for file in reader.files()}
    return tuple(known.get(key.file, "") for key in keys)


def _frames(keys: Iterable[FrameKey], session: Session) -> Iterator[tuple[FrameKey, Image]]:
    """The frames that can still be read."""
    with FrameReader(roots=session.recipe().source.roots) as reader:
        for key in keys:
            try:
                info = reader.inspect(key.file, key.dataset or None)
                pixels = as_counts(reader.read_indices(key.file, key.dataset, [key.index])[0])
                valid = reader.mask(info)
            except SourceError:
                continue
            usable = np.isfinite(pixels) if valid is None else np.isfinite(pixels) & valid
            yield key, Image(key, pixels, usable, info.simulated)


def _listed(session: Session, keys: Iterable[FrameKey]) -> dict[FrameKey, list[Point]]:
    """The candidates that the engine has found on these frames."""
    found: dict[FrameKey, list[Point]] = defaultdict(list)
    if not session.results_path.exists():
        return found
    reader = session.results()
    try:
        for key in keys:
            row = reader.listing("frames").row_of(key)
            if row is not None:
                found[key] = [(each.x, each.y) for each in reader.candidates(row.id)]
    finally:
        reader.close()
    return found


def _stored_masks(session: Session, keys: Iterable[FrameKey]) -> dict[FrameKey, ClassMap]:
    found = {}
    reader = session.results()
    try:
        for key in keys:
            row = reader.listing("frames").row_of(key)
            mask = None if row is None else reader.mask(row.id)
            if mask is not None:
                found[key] = mask
    finally:
        reader.close()
    return found


def _point(label: Label) -> Point:
    x, y = label.key.point  # type: ignore[misc]
    return x, y


def _is_on(point: Point, image: Image) -> bool:
    return 0 <= point[0] < image.shape[1] and 0 <= point[1] < image.shape[0]
