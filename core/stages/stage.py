"""What a stage is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from photon_triage.core.candidates import Candidate
from photon_triage.core.frames import Batch, Box
from photon_triage.core.prepare import check_roi
from photon_triage.core.recipe import Roi


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

    def __call__(self, batch: Batch) -> StageResult:
        """Score a batch."""
        ...


def counts_in(batch: Batch, roi: Roi | None) -> tuple[Tensor, Tensor]:
    """Counts and usable pixels of a region, (batch, rows, columns) each: float32, 0 where unusable; bool."""
    shape = (batch.frames.shape[-2], batch.frames.shape[-1])
    frames, valid = batch.frames, batch.valid
    if roi is not None:
        check_roi(roi, shape)
        frames = frames[:, roi.rows, roi.columns]
        valid = None if valid is None else valid[roi.rows, roi.columns]
    frames = frames.float()
    usable = frames >= 0
    if valid is not None:
        usable = usable & valid
    return torch.where(usable, frames, 0.0), usable


def image_in(batch: Batch, roi: Roi | None) -> tuple[Tensor, Tensor]:
    """Grey values and usable pixels of a region, (batch, rows, columns) each: float32, negative ones as they are; bool.

    For images that are not counts: reconstructed slices, micrographs.
    """
    frames, valid = batch.frames, batch.valid
    if roi is not None:
        check_roi(roi, (frames.shape[-2], frames.shape[-1]))
        frames = frames[:, roi.rows, roi.columns]
        valid = None if valid is None else valid[roi.rows, roi.columns]
    frames = frames.float()
    usable = frames.isfinite()
    return frames, usable if valid is None else usable & valid


def radius_map(batch: Batch, roi: Roi | None) -> Tensor | None:
    """Distance of a region's pixels from the beam, in pixels, (rows, columns); None where the centre is unknown."""
    x0, y0 = batch.geometry.beam_center_x, batch.geometry.beam_center_y
    if x0 is None or y0 is None:
        return None
    height, width = batch.frames.shape[-2:]
    device = batch.frames.device
    y = torch.arange(height, device=device, dtype=torch.float32) - y0
    x = torch.arange(width, device=device, dtype=torch.float32) - x0
    if roi is not None:
        y, x = y[roi.rows], x[roi.columns]
    return torch.hypot(y[:, None], x[None, :])
