"""One frame as a picture: read in a process of its own, cut to the region of interest, bad pixels told apart."""

from __future__ import annotations

import os
import signal
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import FrameKey, as_counts
from photon_triage.core.recipe import Recipe

MASKS_KEPT = 8
WINDOW = 256
"""Side in pixels of what is shown about a candidate."""
READ_DEADLINE_S = 10.0


class FrameSource(Protocol):
    """What gives frames: core.sources.FrameReader, or a stand-in."""

    def inspect(self, path: str, dataset: str | None = None) -> Any:
        """What is known of a file."""

    def read(self, path: str, dataset: str, start: int, stop: int) -> NDArray[Any]:
        """Frames start to stop: (n, height, width)."""

    def mask(self, info: Any) -> NDArray[np.bool_] | None:
        """(height, width) bool, true where a pixel is valid; None where the file tells no mask."""

    def close(self) -> None:
        """Let go of the files."""


@dataclass(frozen=True, eq=False)
class Preview:
    """A frame's pixels for looking at.

    pixels: (height, width) float32, 0 where invalid: detector counts, or the grey values of an image. valid: (height,
    width) bool. top, left: where the region begins in the whole frame, whose size is `frame_height` by `frame_width`.
    counts: whether pixels are counts, which are never negative.
    """

    key: FrameKey
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    top: int
    left: int
    frame_height: int
    frame_width: int
    counts: bool = True


class Previewer:
    """Reads single frames for a screen; one call at a time, from any thread."""

    def __init__(self, recipe: Recipe, source: FrameSource | None = None) -> None:
        self._roi, self._images = recipe.prepare.roi, recipe.reads_images
        self._roots = recipe.source.roots
        self._source = source
        self._masks: OrderedDict[tuple[str, str], NDArray[np.bool_] | None] = OrderedDict()
        self._lock = threading.Lock()

    def load(self, key: FrameKey, *, whole: bool = False) -> Preview:
        """The frame of that key: what is about its point, else the recipe's region of interest; or the `whole` frame.

        Raises SourceError where it cannot be read.
        """
        with self._lock:
            source = self._reader()
            frames = source.read(key.file, key.dataset, key.index, key.index + 1)
            if frames.ndim != 3 or not len(frames):
                raise SourceError(
                    f"Could not show frame {key.index} of {key.file}: the file gave an array of shape {frames.shape}.",
                    "It may have been replaced by a shorter one since it was scored.",
                )
            mask = self._mask(source, key)
        frame = np.asarray(frames[0]) if self._images else as_counts(np.asarray(frames[0]))
        height, width = frame.shape
        valid = np.isfinite(frame)
        if not self._images:
            valid &= frame >= 0
        if mask is not None and mask.shape == frame.shape:
            valid &= mask
        rows, columns = slice(0, height), slice(0, width)
        if not whole:
            rows, columns = self._region(key, height, width)
        frame, valid = frame[rows, columns], valid[rows, columns]
        pixels = np.where(valid, frame, 0).astype(np.float32)
        return Preview(key, pixels, valid, rows.start, columns.start, height, width, counts=not self._images)

    def _region(self, key: FrameKey, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns to show of a frame of that size."""
        if key.point:
            x, y = key.point
            return _about(y, height), _about(x, width)
        roi = self._roi
        if roi is None or roi.top >= height or roi.left >= width:
            return slice(0, height), slice(0, width)
        return (
            slice(roi.top, min(roi.top + roi.height, height)),
            slice(roi.left, min(roi.left + roi.width, width)),
        )

    def close(self) -> None:
        """End the reader process, also in the middle of a read."""
        source, self._source = self._source, None
        if source is None:
            return
        if self._lock.locked() and (pid := getattr(source, "pid", None)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # a read that hangs would keep close() waiting for its deadline
        source.close()

    def _reader(self) -> FrameSource:
        if self._source is None:
            from photon_triage.core.sources import FrameReader

            self._source = FrameReader(deadline=READ_DEADLINE_S, roots=self._roots)
        return self._source

    def _mask(self, source: FrameSource, key: FrameKey) -> NDArray[np.bool_] | None:
        name = (key.file, key.dataset)
        if name not in self._masks:
            self._masks[name] = source.mask(source.inspect(key.file, key.dataset or None))
            while len(self._masks) > MASKS_KEPT:
                self._masks.popitem(last=False)
        self._masks.move_to_end(name)
        return self._masks[name]


def _about(place: int, extent: int) -> slice:
    """WINDOW pixels with `place` in their middle, moved to lie inside."""
    start = max(min(place - WINDOW // 2, extent - WINDOW), 0)
    return slice(start, min(start + WINDOW, extent))
