"""The line at the top: run, engine, rate, lag, what was dropped, hit rate."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from textual.content import Content

from photon_triage.core.session.presence import busy_text
from photon_triage.core.session.store.reader import HISTORY_BIN_S
from photon_triage.core.session.trainings.trainings import AT_WORK
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.terminal.text import cells, cut, safe_text
from photon_triage.tui.widgets.pane import Line, sparkline

Part = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EngineWord:
    """How the engine is, with a sign that needs no colour."""

    text: str
    style: str


def engine_word(snapshot: Snapshot, name_width: int = 24) -> EngineWord:
    """The engine's state in a word; with the name of the file that it is busy with, cut to so many cells."""
    status = snapshot.state.status
    if not snapshot.started:
        return EngineWord("○ no engine yet", "$text-warning")
    if snapshot.silent_s:
        return EngineWord(f"◌ does not answer for {snapshot.silent_s:.0f} s", "bold $text-error")
    name = cut(safe_text(snapshot.state.busy_with), name_width)
    if snapshot.alive and (busy := busy_text(replace(snapshot.state, busy_with=name))):
        return EngineWord(f"◑ {busy}", "$text-warning")
    if snapshot.died:
        return EngineWord("✗ ENGINE DIED", "bold $text-error")
    if snapshot.alive:
        return (
            EngineWord("◐STARTING", "$text-warning") if status == "starting" else EngineWord("●LIVE", "$text-success")
        )
    if status == "finished":
        return EngineWord("■ FINISHED", "$text-accent")
    if status == "failed":
        return EngineWord("✗ ENGINE FAILED", "bold $text-error")
    return EngineWord("○ engine not running", "$text-warning")


def has_stopped(snapshot: Snapshot) -> bool:
    """Whether an engine that is there records nothing just now: its rate and its lag are of the past."""
    return bool(snapshot.silent_s or busy_text(snapshot.state))


def rates(snapshot: Snapshot, bins: int) -> list[float]:
    """Hit rate in percent of the last bins, oldest first; 0 where no frame came."""
    by_bin = {int(begin // HISTORY_BIN_S): (frames, hits) for begin, frames, hits in snapshot.history}
    last = int(snapshot.time // HISTORY_BIN_S) if snapshot.alive else max(by_bin, default=0)
    window = [by_bin.get(place, (0, 0)) for place in range(last - bins + 1, last + 1)]
    return [100 * hits / frames if frames else 0.0 for frames, hits in window]


def minute_rate(snapshot: Snapshot) -> float | None:
    """Hit rate in percent of the last minute, or None where no frame came in it."""
    since = (snapshot.time if snapshot.alive else max((b for b, _, _ in snapshot.history), default=0.0) + 10) - 60
    recent = [(frames, hits) for begin, frames, hits in snapshot.history if begin >= since - HISTORY_BIN_S / 2]
    frames = sum(f for f, _ in recent)
    return 100 * sum(h for _, h in recent) / frames if frames else None


def behind_and_later(snapshot: Snapshot) -> tuple[int, int]:
    """(Frames that are there and are read next, frames that newer ones went before and that are caught up later)."""
    later = snapshot.state.passed_over
    return max(snapshot.state.queue - later, 0), later


def learning_texts(snapshot: Snapshot, name_width: int) -> list[str]:
    """The training that is under way, or the model that scores in the shadow; the longest text first."""
    for training in snapshot.trainings:
        if training.state in AT_WORK:
            name = cut(safe_text(training.name), name_width)
            told = f"{100 * training.share:.0f} %" if training.planned else "…"
            told += " ‖" if training.state == "paused" else ""
            return [f"training {name} {told}", f"train {told}"]
    shadow = snapshot.state.shadow
    return [f"shadow {cut(safe_text(str(shadow)), name_width)}", "shadow"] if shadow else []


class StatusLine(Line):
    """One line that says at a glance whether all is well."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._snapshot = Snapshot(0.0)
        self._threshold = 0.5
        self._paused = False
        self.mark = ""
        """What else stands in front, in capitals."""

    def show(self, snapshot: Snapshot, threshold: float, *, paused: bool) -> None:
        """Take a newer state."""
        self._snapshot, self._threshold, self._paused = snapshot, threshold, paused
        self.put(self._line())

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self.put(self._line())

    def _line(self) -> Content:
        width = self.size.width
        if width < 110:
            return self._fit(self._narrow(width), width)
        return self._fit(self._full(width), width)

    def _narrow(self, width: int) -> list[Part]:
        snapshot = self._snapshot
        verdicts, minute = snapshot.verdicts, minute_rate(snapshot)
        counts = f"{snapshot.undecided}? {verdicts.get('accepted', 0)}A {verdicts.get('rejected', 0)}X"
        front = self._front(12)
        middle: list[Part] = []
        if snapshot.alive and not has_stopped(snapshot):
            lag = f"lag {snapshot.state.lag_s:.1f}s"
            behind, later = behind_and_later(snapshot)
            lag += (f" {behind}f" if behind else "") + (f" +{later}" if later else "")
            middle.append((f"{snapshot.state.rate_hz:.0f} Hz {lag}", ""))
        middle.append((f"hit {_percent(minute)}/1m", ""))
        tail = [(f"thr {self._threshold:.2f}", "bold"), (counts, "bold")]
        used = sum(cells(text) + 1 for text, _ in [*front, *middle, *tail])
        fitting = [text for text in learning_texts(snapshot, 16) if used + cells(text) < width]
        if fitting:
            used += cells(fitting[0]) + 1
            middle.append((fitting[0], "$text-accent"))
        if width - used >= 5:
            spark = min(width - used - 1, 12)
            middle.append((sparkline(rates(snapshot, spark), spark), "$text-accent"))
        return [*front, *middle, *tail]

    def _full(self, width: int) -> list[Part]:
        snapshot = self._snapshot
        counts, minute = snapshot.counts, minute_rate(snapshot)
        whole = 100 * counts.hits / counts.frames if counts.frames else None
        parts = [("photon-triage", "bold"), *self._front(24)]
        if snapshot.alive and not has_stopped(snapshot):
            parts.append((f"{snapshot.state.rate_hz:.0f} Hz", ""))
            behind, later = behind_and_later(snapshot)
            parts.append((f"lag {snapshot.state.lag_s:.1f} s, {behind:,} frames", ""))
            if later:
                parts.append((f"{later:,} to catch up", "$text-warning"))
        parts.append((f"dropped {counts.dropped}", "bold $text-error" if counts.dropped else ""))
        parts.append((f"hit rate {_percent(minute)} (1 min)  {_percent(whole)} (run)", ""))
        parts += [(text, "$text-accent") for text in learning_texts(snapshot, 24)[:1]]
        clock = time.strftime("%H:%M:%S", time.localtime(snapshot.time))
        thr = f"thr {self._threshold:.2f}"
        left = width - sum(cells(text) + 2 for text, _ in parts) - len(thr) - 2
        if left >= 10:
            bins = min(left - 2, 30)
            left -= bins + 2
            parts.append((sparkline(rates(snapshot, bins), bins), "$text-accent"))
        return [*parts, (thr, "bold"), *([(clock, "$text-muted")] if left >= len(clock) + 2 else [])]

    def _front(self, run_width: int) -> list[Part]:
        snapshot = self._snapshot
        word = engine_word(snapshot, run_width)
        parts: list[Part] = []
        if snapshot.run:
            parts.append((cut(safe_text(snapshot.run), run_width), "bold"))
        if snapshot.counts.simulated:
            parts.append(("SIMULATED", "bold reverse $warning"))
        parts.append((word.text, word.style))
        if self.mark:
            parts.append((self.mark, "bold reverse"))
        if self._paused:
            parts.append(("‖PAUSED", "bold reverse"))
        if snapshot.damaged:
            parts.append((f"!{snapshot.damaged} damaged", "bold $text-error"))
        return parts

    @staticmethod
    def _fit(parts: list[Part], width: int) -> Content:
        gap = " " if width < 110 else "  "
        content = Content(gap).join([Content.styled(text, style) if style else Content(text) for text, style in parts])
        return content.truncate(width, ellipsis=True) if content.cell_length > width > 0 else content


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}%"
