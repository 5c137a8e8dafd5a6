"""The virtual powder as it grows: frames are added up where they are, on the device."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import Roi
from photon_triage.core.session.store.powder import KINDS, Powder, PowderSum, empty_powder, read_powder, write_powder
from photon_triage.core.stages.cascade import counts_in, few_threads

log = logging.getLogger("photon_triage.engine")

SAVE_S = 10.0
REST_FACTOR = 30.0
"""It is written no sooner than this many times as long as the last time took: a large detector's is 100 MB."""

SUMMED_PIXELS = 2**23
"""Pixels that are summed at once: 32 MB as float32."""


class GrowingPowder:
    """Adds up the frames of one shape: that of the powder in the session, else of the first frame.

    Frames are added once they are recorded, and what is recorded is not read again: no frame is counted twice, also
    where the engine is killed. Those that were recorded after the powder was last written are then not in it.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._grown: _Sums | None = None
        self._changed = False
        self._next = clock() + SAVE_S
        try:
            before = read_powder(folder)
        except SessionError as error:
            log.warning("%s The powder begins anew.", error)
            before = None
        self._before: Powder | None = before

    def add(self, batch: Batch, hits: Sequence[bool], *, simulated: bool = False) -> None:
        """Add frames that were recorded just now; those of another shape are left out."""
        shape = batch.shape
        if self._grown is None:
            start = self._before
            if start is not None and start.valid.shape != shape:
                return
            self._grown = _Sums(start or empty_powder(shape), batch.frames.device)
        if self._grown.shape == shape:
            self._grown.add(batch, hits)
            self._grown.simulated |= simulated
            self._changed = True

    def save_now_and_then(self) -> None:
        """Write it, if it has changed and was not written just before."""
        if self._clock() >= self._next:
            self.save()

    def save(self) -> None:
        """Write it, if it has changed; what cannot be written now is written the next time."""
        if not self._changed or self._grown is None:
            return
        begun = self._clock()
        try:
            write_powder(self._folder, self._grown.powder())
        except OSError as error:
            log.warning("the powder could not be written: %s", error)
        else:
            self._changed = False
        ended = self._clock()
        self._next = ended + max(SAVE_S, REST_FACTOR * (ended - begun))


class _Sums:
    """Sums and maxima on a device."""

    def __init__(self, start: Powder, device: torch.device) -> None:
        self.simulated = start.simulated
        self.shape = (int(start.valid.shape[0]), int(start.valid.shape[1]))
        self._valid = torch.from_numpy(start.valid.copy()).to(device)
        parts = [getattr(start, kind) for kind in KINDS]
        self._n = [part.n for part in parts]
        self._sum = [torch.from_numpy(part.sum.copy()).to(device) for part in parts]
        self._max = [torch.from_numpy(part.max.copy()).to(device) for part in parts]
        self._buffer = torch.empty(0, device=device)
        """Frames as float32, used again and again: new memory costs more than the sums."""

    @torch.inference_mode()
    def add(self, batch: Batch, hits: Sequence[bool]) -> None:
        window = batch.window
        rows, columns = (window.rows, window.columns) if window else (slice(None), slice(None))
        at_once = max(1, SUMMED_PIXELS // batch.frames[0].numel())
        with few_threads(batch.frames.numel()):
            for kind, wanted in enumerate((True, False)):
                members = [place for place, hit in enumerate(hits) if bool(hit) is wanted]
                for start in range(0, len(members), at_once):
                    part = members[start : start + at_once]
                    total, highest, usable = self._totals(batch, part)
                    self._n[kind] += len(part)
                    self._sum[kind][rows, columns] += total
                    torch.maximum(self._max[kind][rows, columns], highest, out=self._max[kind][rows, columns])
                    self._valid[rows, columns] |= usable

    def _totals(self, batch: Batch, members: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Sum and maximum of some frames of a batch, and whether a pixel counted on any, (rows, columns) each."""
        frames = batch.frames
        shape = (len(members), *frames.shape[1:])
        if self._buffer.numel() < math.prod(shape):
            self._buffer = torch.empty(math.prod(shape), device=frames.device)
        counts = self._buffer[: math.prod(shape)].view(shape)
        for place, member in enumerate(members):
            counts[place].copy_(frames[member])
        highest = counts.amax(0)
        if frames.is_floating_point() or (not frames.is_signed() and highest.amax() >= torch.iinfo(frames.dtype).max):
            return self._totals_with_marks(batch, members)
        usable = highest >= 0
        if not usable.all() or counts.amin() < 0:
            counts.clamp_(min=0)
            highest.clamp_(min=0)
        total = counts.sum(0)
        if batch.valid is not None:
            window = batch.window
            valid = batch.valid if window is None else batch.valid[window.rows, window.columns]
            usable &= valid
            total, highest = total * valid, highest * valid
        return total, highest, usable

    def _totals_with_marks(self, batch: Batch, members: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The same where gaps may be marked by NaN or by the largest value, so that each pixel must be looked at."""
        window = batch.window
        roi = Roi(top=window.top, left=window.left, height=window.height, width=window.width) if window else None
        wanted = torch.zeros(len(batch), dtype=torch.bool)
        wanted[members] = True
        counts, usable = counts_in(batch.select(wanted.to(batch.frames.device)), roi, required=False)
        return counts.sum(0), counts.amax(0), usable.any(0)

    def powder(self) -> Powder:
        """As it stands, on the host."""
        hits, misses = (
            PowderSum(n, total.cpu().numpy(), highest.cpu().numpy())
            for n, total, highest in zip(self._n, self._sum, self._max, strict=True)
        )
        return Powder(hits, misses, self._valid.cpu().numpy(), self.simulated)
