"""The virtual powder as it grows: frames are added up where they are, on the device."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from photon_triage.core.errors import SessionError
from photon_triage.core.frames import Batch
from photon_triage.core.recipe import Roi
from photon_triage.core.session.powder import KINDS, Powder, PowderSum, empty_powder, read_powder, write_powder
from photon_triage.core.stages.stage import counts_in
from photon_triage.core.stages.threads import few_threads

log = logging.getLogger("photon_triage.engine")

SAVE_S = 10.0
REST_FACTOR = 30.0
"""It is written no sooner than this many times as long as the last time took: a large detector's is 100 MB."""


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

    @torch.inference_mode()
    def add(self, batch: Batch, hits: Sequence[bool]) -> None:
        window = batch.window
        rows, columns = (window.rows, window.columns) if window else (slice(None), slice(None))
        roi = Roi(top=window.top, left=window.left, height=window.height, width=window.width) if window else None
        with few_threads(batch.frames.numel()):
            self._add(batch, roi, rows, columns, hits)

    def _add(self, batch: Batch, roi: Roi | None, rows: slice, columns: slice, hits: Sequence[bool]) -> None:
        counts, usable = counts_in(batch, roi)
        self._valid[rows, columns] |= usable.any(0)
        hit = torch.tensor(hits, dtype=torch.bool, device=counts.device)
        for kind, wanted in enumerate((hit, ~hit)):
            n = int(wanted.sum())
            if not n:
                continue
            part = counts if n == len(hit) else counts[wanted]
            self._n[kind] += n
            self._sum[kind][rows, columns] += part.sum(0)
            highest = self._max[kind][rows, columns]
            torch.maximum(highest, part.amax(0), out=highest)

    def powder(self) -> Powder:
        """As it stands, on the host."""
        hits, misses = (
            PowderSum(n, total.cpu().numpy(), highest.cpu().numpy())
            for n, total, highest in zip(self._n, self._sum, self._max, strict=True)
        )
        return Powder(hits, misses, self._valid.cpu().numpy(), self.simulated)
