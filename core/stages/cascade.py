"""The cascade of stages: cheap tests first, so that the network sees only what they pass; and what all stages share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import TriageError
from photon_triage.core.frames import Batch, Box
from photon_triage.core.prepare import check_roi, counts_of
from photon_triage.core.recipe import Roi

_SAMPLED = 16
"""Rows and columns of which one is looked at first where most frames have usable pixels in all places."""

FEW_PIXELS = 2**21
"""Of a batch, for which torch's threads wait for each other longer than they work."""


class UnusableFrameError(Exception):
    """A frame has no pixel that can be used in the region that a stage looks at: no result can be given for it."""

    def __init__(self) -> None:
        super().__init__("none of its pixels can be used: all are masked, gaps or not finite")


@dataclass(frozen=True)
class Found:
    """A detection of a stage: class, score in [0, 1], box in pixels of the whole frame."""

    category: str
    score: float
    box: Box


@dataclass(frozen=True)
class StageResult:
    """What a stage says of a batch.

    passed: (batch,) bool. columns: name to (batch,) float32. score: (batch,) float32 in [0, 1], from stages that score.
    detections, candidates: one tuple a frame, from stages that find such. classes: (batch, height, width) uint8, each
    pixel's place among `class_names`, from a stage that segments.
    """

    passed: Tensor
    columns: dict[str, Tensor] = field(default_factory=dict)
    score: Tensor | None = None
    detections: tuple[tuple[Found, ...], ...] | None = None
    candidates: tuple[tuple[Candidate, ...], ...] | None = None
    classes: Tensor | None = None
    class_names: tuple[str, ...] = ()


class Stage(Protocol):
    """One test in the cascade."""

    @property
    def name(self) -> str:
        """What the recipe calls its kind."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """What it measures."""
        ...

    @property
    def is_network(self) -> bool:
        """Whether it is worth all cores, which the cheap stages leave to the readers."""
        ...

    def __call__(self, batch: Batch) -> StageResult:
        """Score a batch."""
        ...


def counts_in(batch: Batch, roi: Roi | None, *, required: bool = True) -> tuple[Tensor, Tensor]:
    """Counts and usable pixels of a region: (batch, rows, columns) float32, 0 where unusable; bool.

    The usable pixels are (1, rows, columns) where they are the same on all frames. required: raise UnusableFrameError
    where a frame has none.
    """
    frames, valid = _region(batch, roi)
    counts = counts_of(frames, masked=valid is not None)
    if counts.amin() >= 0:  # no gap anywhere, as most often
        if valid is None or valid.all():
            return counts, torch.ones_like(counts[:1], dtype=torch.bool)
        counts, usable = torch.where(valid, counts, 0.0), valid[None]
    else:
        usable = counts >= 0
        if valid is not None:
            usable = usable & valid
        counts = torch.where(usable, counts, 0.0)
    if required:
        require_usable(usable)
    return counts, usable


def image_in(batch: Batch, roi: Roi | None, *, required: bool = True) -> tuple[Tensor, Tensor]:
    """Grey values and usable pixels of a region, (batch, rows, columns) each: float32, negative ones as they are; bool.

    For images that are not counts: reconstructed slices, micrographs. required: see `counts_in`.
    """
    frames, valid = _region(batch, roi)
    frames = frames.float()
    usable = frames.isfinite()
    if valid is not None:
        usable = usable & valid
    if required:
        require_usable(usable)
    return frames, usable


def require_usable(usable: Tensor) -> None:
    """UnusableFrameError where one of the frames, (frames, rows, columns) bool, has no usable pixel."""
    if usable[:, ::_SAMPLED, ::_SAMPLED].flatten(1).any(1).all():
        return
    if not usable.flatten(1).any(1).all():
        raise UnusableFrameError


def radius_map(batch: Batch, roi: Roi | None) -> Tensor | None:
    """Distance of a region's pixels from the beam, in pixels, (rows, columns); None where the centre is unknown."""
    x0, y0 = batch.geometry.beam_center_x, batch.geometry.beam_center_y
    if x0 is None or y0 is None:
        return None
    height, width = batch.shape
    device = batch.frames.device
    y = torch.arange(height, device=device, dtype=torch.float32) - y0
    x = torch.arange(width, device=device, dtype=torch.float32) - x0
    if roi is not None:
        y, x = y[roi.rows], x[roi.columns]
    return torch.hypot(y[:, None], x[None, :])


@contextmanager
def few_threads(pixels: int) -> Iterator[None]:
    """Have torch compute in one thread inside the block where a batch has few pixels."""
    before = torch.get_num_threads()
    if pixels > FEW_PIXELS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass
class Outcome:
    """What the stages said of one frame: how many it passed, its score, and what was measured and found on the way.

    classes: (rows, columns) uint8 of the region of interest, each pixel's place among `class_names`.
    """

    passed: int = 0
    score: float | None = None
    measures: dict[str, float] = field(default_factory=dict)
    detections: tuple[Found, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    classes: NDArray[np.uint8] | None = None
    class_names: tuple[str, ...] = ()

    @property
    def hit(self) -> bool:
        """Whether it passed hit finding, the first stage."""
        return self.passed > 0


class StageFailure(Exception):
    """A defect or a limit met inside a stage: its name and the cause; a TriageError passes as it is."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(f"The stage {stage} failed: {cause}")
        self.stage, self.cause = stage, cause


@torch.inference_mode()
def run_cascade(stages: Sequence[Stage], batch: Batch) -> list[Outcome]:
    """The result of the stages for each frame of a batch; each stage sees what the ones before it have passed.

    Raises StageFailure where a stage fails, and TriageError where the recipe does not fit the frames.
    """
    outcomes = [Outcome() for _ in range(len(batch))]
    alive = list(range(len(batch)))
    for stage in stages:
        if not alive:
            break
        try:
            with nullcontext() if stage.is_network else few_threads(batch.frames.numel()):
                result = stage(batch)
        except TriageError:
            raise
        except Exception as error:
            raise StageFailure(stage.name, error) from error
        if result.classes is not None:
            batch = replace(batch, classes=result.classes, class_names=result.class_names)
        classes: Any = [None] * len(alive) if result.classes is None else result.classes.cpu().numpy()
        columns = {name: values.tolist() for name, values in result.columns.items()}
        scores = None if result.score is None else result.score.tolist()
        for place, frame in enumerate(alive):
            outcome = outcomes[frame]
            outcome.measures.update((name, _rounded(values[place])) for name, values in columns.items())
            if scores is not None:
                outcome.score = scores[place]
            if result.detections is not None:
                outcome.detections = result.detections[place]
            if result.candidates is not None:
                outcome.candidates = result.candidates[place]
            if classes[place] is not None:
                outcome.classes, outcome.class_names = classes[place], result.class_names
        survivors = result.passed.tolist()
        alive = [frame for frame, passed in zip(alive, survivors, strict=True) if passed]
        for frame in alive:
            outcomes[frame].passed += 1
        with few_threads(batch.frames.numel()):
            batch = batch.select(result.passed.to(batch.frames.device))
    return outcomes


def run_on_usable(stages: Sequence[Stage], batch: Batch) -> list[Outcome | None]:
    """The same, with None for a frame without a usable pixel, which costs the others nothing."""
    try:
        return [*run_cascade(stages, batch)]
    except StageFailure as error:
        if not isinstance(error.cause, UnusableFrameError):
            raise
    if len(batch) == 1:
        return [None]
    places = torch.arange(len(batch), device=batch.frames.device)
    return [run_on_usable(stages, batch.select(places == place))[0] for place in range(len(batch))]


def _region(batch: Batch, roi: Roi | None) -> tuple[Tensor, Tensor | None]:
    """A region of the frames as they were stored, and of the file's mask."""
    height, width = batch.shape
    if roi is None:
        rows, columns = slice(0, height), slice(0, width)
    else:
        check_roi(roi, batch.shape)
        rows, columns = roi.rows, roi.columns
    return batch.cut(rows, columns), None if batch.valid is None else batch.valid[rows, columns]


def _rounded(value: float) -> float:
    """Counts as they are, other numbers to what single precision holds."""
    return value if value.is_integer() else float(f"{value:.7g}")
