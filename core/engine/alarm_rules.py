"""What an operator should be told of while nobody looks: the hit rate falls, files stop, a disk fills, scores drift."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.metrics import wilson
from photon_triage.core.recipe import AlarmsTable
from photon_triage.core.session.store.alarms import Alarm, run_command
from photon_triage.core.session.store.rows import FrameResult

log = logging.getLogger("photon_triage.engine")

CHECK_S = 5.0
HELD_S = 30.0
"""An alarm stays at least so long, so that one at its threshold does not ring again and again."""
SURE = 0.99
REFERENCE, RECENT = 1000, 500
"""Scores of the session's first frames, and of the newest ones that are held against them."""
KS_CHANCE = 1e-3
"""Of the two-sample Kolmogorov-Smirnov test: how likely scores that do not drift may be to differ so much."""
BINS = 10
DISK_SPAN_S = 300.0

Free = Callable[[Path], int]


class Alarms:
    """Follows what the engine records and says what is wrong; may be called from any thread.

    folders: whose disks are watched. first_scores: the scores that a model gave first in this session. command: words
    of a command that is run once for each alarm; the table's own is not, because it comes with the session. free: bytes
    left on a path's disk.
    """

    def __init__(
        self,
        table: AlarmsTable,
        folders: Iterable[Path],
        first_scores: Callable[[str, int], Sequence[float]],
        *,
        command: Sequence[str] = (),
        free: Free = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self._table, self._command = table, tuple(command)
        self._rates = _Rates(table)
        self._drift = _Drift(table, first_scores)
        self._disks = _Disks(table, tuple(dict.fromkeys(folders)), free)
        self._last_frame: float | None = None
        self._alarms: dict[str, Alarm] = {}
        self._seen: dict[str, float] = {}
        self._next = 0.0
        self._lock = threading.Lock()

    def saw(self, run: str, results: Sequence[FrameResult], now: float, *, late: bool = False) -> None:
        """Frames were recorded; late: newer ones went before them."""
        with self._lock:
            self._last_frame = now
            if not late:
                self._rates.add(run, len(results), sum(result.hit for result in results), now)
            self._drift.add(results)

    def check(self, now: float, *, backlog: int = 0) -> list[dict[str, Any]]:
        """The alarms that hold, as the engine's state tells them. backlog: frames that are there and wait."""
        with self._lock:
            if now >= self._next:
                self._next = now + CHECK_S
                self._raise("rate", self._rates.complaint(now), now)
                self._raise("files", self._silence(now, backlog), now)
                self._raise("disk", self._disks.complaint(now), now)
                self._raise("drift", self._drift.complaint(), now)
            return [asdict(alarm) for alarm in self._alarms.values()]

    def _raise(self, kind: str, text: str, now: float) -> None:
        before = self._alarms.get(kind)
        if text:
            self._seen[kind] = now
            self._alarms[kind] = Alarm(kind, text, before.since if before else now)
            if before is None:
                log.warning("alarm: %s", text)
                if self._command:
                    run_command(self._command, text)
        elif before is not None and now - self._seen[kind] >= HELD_S:
            del self._alarms[kind]
            log.info("alarm is over: %s", before.text)

    def _silence(self, now: float, backlog: int) -> str:
        limit = self._table.files_stop_s
        if not limit or self._last_frame is None or backlog or now - self._last_frame < limit:
            return ""
        return f"No new frame for {_duration(now - self._last_frame)}: are files still written?"


class _Rates:
    """The hit rate of the newest run, in its last minute and before."""

    def __init__(self, table: AlarmsTable) -> None:
        self._table = table
        self._run: str | None = None
        self._past = [0, 0]
        self._recent: deque[tuple[float, int, int]] = deque()

    def add(self, run: str, frames: int, hits: int, now: float) -> None:
        if run != self._run:
            self._run, self._past = run, [0, 0]
            self._recent.clear()
        self._recent.append((now, frames, hits))
        self._age(now)

    def _age(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > self._table.rate_window_s:
            _, frames, hits = self._recent.popleft()
            self._past[0] += frames
            self._past[1] += hits

    def complaint(self, now: float) -> str:
        self._age(now)
        frames, hits = sum(each[1] for each in self._recent), sum(each[2] for each in self._recent)
        if not self._table.rate_fall or not frames or not self._past[0]:
            return ""
        rate, before = hits / frames, self._past[1] / self._past[0]
        surely = wilson(hits, frames, SURE).high < wilson(self._past[1], self._past[0], SURE).low
        if not surely or rate > (1 - self._table.rate_fall) * before:
            return ""
        return (
            f"The hit rate fell to {100 * rate:.1f} % (n={frames:,}, last {_duration(self._table.rate_window_s)}) "
            f"from {100 * before:.1f} % (n={self._past[0]:,}) before in this run."
        )


class _Disks:
    """Space left on some disks, and when it is used up if it goes on like this; asked in a thread, for it may hang."""

    def __init__(self, table: AlarmsTable, folders: tuple[Path, ...], free: Free) -> None:
        self._table, self._folders, self._free = table, folders, free
        self._known: dict[Path, deque[tuple[float, int]]] = {}
        self._asking: threading.Thread | None = None
        self._lock = threading.Lock()

    def complaint(self, now: float) -> str:
        if self._asking is None or not self._asking.is_alive():
            self._asking = threading.Thread(target=self._ask, args=(now,), name="disk-space", daemon=True)
            self._asking.start()
            self._asking.join(0.05)
        with self._lock:
            known = {folder: list(seen) for folder, seen in self._known.items()}
        for folder, samples in known.items():
            (first, most), (last, left) = samples[0], samples[-1]
            if left < 1e9 * self._table.disk_free_gb:
                return f"Only {left / 1e9:.1f} GB are left on the disk of {_shown(folder)}."
            if last - first >= DISK_SPAN_S / 5 and most > left:
                minutes = left / ((most - left) / (last - first)) / 60
                if minutes < self._table.disk_full_min:
                    return f"The disk of {_shown(folder)} is full in {minutes:.0f} min if it goes on like this."
        return ""

    def _ask(self, now: float) -> None:
        for folder in self._folders:
            try:
                left = self._free(folder)
            except OSError:
                continue
            with self._lock:
                seen = self._known.setdefault(folder, deque())
                seen.append((now, left))
                while now - seen[0][0] > DISK_SPAN_S:
                    seen.popleft()


class _Drift:
    """The scores of the newest frames beside those of the session's first ones.

    It drifts where the Kolmogorov-Smirnov test is sure of a difference and the population stability index says that it
    matters: the sum of (p - q) ln(p / q) over tenths of the reference; above 0.25 counts as a great change.
    """

    def __init__(self, table: AlarmsTable, first_scores: Callable[[str, int], Sequence[float]]) -> None:
        self._table, self._first_scores = table, first_scores
        self._model: str | None = None
        self._reference: list[float] = []
        self._recent: deque[float] = deque(maxlen=RECENT)

    def add(self, results: Sequence[FrameResult]) -> None:
        for result in results:
            if result.score is None or result.model is None:
                continue
            if result.model != self._model:
                self._model = result.model
                self._reference = list(self._first_scores(result.model, REFERENCE))
                self._recent.clear()
            if len(self._reference) < REFERENCE:
                self._reference.append(result.score)
            else:
                self._recent.append(result.score)

    def complaint(self) -> str:
        n, m = len(self._reference), len(self._recent)
        if not self._table.drift_psi or n < REFERENCE or m < RECENT:
            return ""
        before, now = np.array(self._reference), np.array(self._recent)
        index = stability_index(before, now)
        if index <= self._table.drift_psi:
            return ""
        from scipy.stats import ks_2samp  # takes a second to import, which few engines need

        if ks_2samp(before, now, method="asymp").pvalue >= KS_CHANCE:
            return ""
        return (
            f"The scores have drifted: median {np.median(now):.2f} of the last {m:,}, {np.median(before):.2f} of the "
            f"first {n:,} (stability index {index:.2f}). Label some, and train again."
        )


def stability_index(reference: NDArray[np.float64], sample: NDArray[np.float64]) -> float:
    """The population stability index over tenths of the reference; half a frame stands in for an empty tenth."""
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[1:-1]))
    shares = []
    for values in (reference, sample):
        counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).astype(float)
        shares.append(np.maximum(counts, 0.5) / len(values))
    p, q = shares
    return float(np.sum((p - q) * np.log(p / q)))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _shown(path: Path) -> str:
    """A path as a text without control characters: it goes to a terminal and to a command."""
    return str(path).encode("unicode_escape").decode("ascii")
