"""The screen that triage happens on."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import EMPTY, FOLLOWING
from photon_triage.core.session.store.preview import Previewer
from photon_triage.tui.screens.main.list_controller import Moving
from photon_triage.tui.screens.main.picture_controller import Looking
from photon_triage.tui.screens.main.session_controller import Leaving
from photon_triage.tui.screens.main.training_controller import Teaching
from photon_triage.tui.screens.main.triage import Visit
from photon_triage.tui.screens.onlooking import Onlooking
from photon_triage.tui.screens.surveying import Surveying
from photon_triage.tui.snapshot.snapshot import Request, Snapshot
from photon_triage.tui.terminal.slow_terminal import LineApp
from photon_triage.tui.terminal.text import cut, safe_text
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.engine_log import EnginePane, LogPane, engine_trouble
from photon_triage.tui.widgets.files import RunsPane
from photon_triage.tui.widgets.history import HistoryPane
from photon_triage.tui.widgets.keys import KEYS, KeyFooter
from photon_triage.tui.widgets.message import AlarmLine, Banner, MessageLine
from photon_triage.tui.widgets.metrics_pane import CurvePane, MetricsLine, MetricsPane
from photon_triage.tui.widgets.neighbours import NeighbourPane
from photon_triage.tui.widgets.radial import RadialPane
from photon_triage.tui.widgets.status import StatusLine

REFRESH_S = 0.25
REFETCH_S = 2.0
"""Visible rows are read again this often while the engine writes."""
SILENT_S = 3.0
"""Seconds without an answer from the session's folder from which the screen says so."""


class MainScreen(Moving, Looking, Surveying, Teaching, Onlooking, Leaving):
    """Candidates, the frame under the cursor, and how the run goes."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]

    class Built(Message):
        """A snapshot is ready."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    def __init__(self, session: Session, previewer: Previewer | None, keymap: str) -> None:
        super().__init__(session, previewer, keymap)
        self._listable_then = 0
        self._builders = ThreadPoolExecutor(1, "snapshot")
        """The builder's own thread: it is called from one at a time."""
        self._building = self._build_again = False
        self._building_since = 0.0
        self._refetched_at = 0.0
        self._refetched_version = 0
        self._engine_message = ""

    def compose(self) -> ComposeResult:
        """All parts at all sizes; the style sheet hides what a narrow terminal has no room for."""
        yield StatusLine(id="status")
        yield Banner(id="unread")
        yield Banner(id="unsaved")
        yield AlarmLine(id="alarms")
        with Horizontal(id="body"):
            yield self._list
            yield self._sheet
            with Vertical(id="frame"):
                yield self._picture
                yield RadialPane(id="radial")
                yield NeighbourPane(self.standing, id="beside")
            with Vertical(id="side"):
                yield HistoryPane("Hit rate", id="side-history")
                yield RunsPane("Runs", id="runs")
                yield MetricsPane("Labels", id="side-metrics")
                yield CurvePane("Precision / recall", id="curve")
                yield EnginePane("Engine", id="engine")
                yield LogPane("Log", id="log")
        with Horizontal(id="bottom"):
            yield MetricsPane("Labels", id="metrics")
            yield HistoryPane("Hit rate", id="history")
        yield MetricsLine(id="numbers")
        yield MessageLine(id="message")
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Begin to follow the session."""
        self.query_one(StatusLine).mark = "READ-ONLY" if self.session.read_only else ""
        self._list.focus()
        self._list.say_when_empty("reading the session …")
        self.run_worker(self._decisions.queue.run(), group="saves")
        self.set_interval(REFRESH_S, self._refresh)
        self._refresh()

    def on_unmount(self) -> None:
        """Let go of files and processes."""
        self._previewer.close()
        self._builder.close()
        self._store.close()
        self._decisions.close()

    # What is shown

    def _refresh(self) -> None:
        if self._building:
            self._build_again = True
            silent = time.monotonic() - self._building_since
            if silent > SILENT_S:
                self.query_one("#unread", Banner).show(f"The session's folder has not answered for {silent:.0f} s.")
            return
        self._building, self._build_again = True, False
        self._building_since = time.monotonic()
        live = self.live and not self.paused
        runs = self.has_class("-wide") or self.surveying
        request = Request(
            self._spec, self._serial, live, self._trying, self._decisions.saved, runs=runs, axis=self.axis
        )
        self.run_worker(self._build(request), group="snapshot")

    async def _build(self, request: Request) -> None:
        snapshot = await asyncio.get_running_loop().run_in_executor(self._builders, self._builder.build, request)
        self.post_message(self.Built(snapshot))

    def on_main_screen_built(self, message: Built) -> None:
        """Paint what is new in one stroke."""
        self._building = False
        snapshot = message.snapshot
        banner = self.query_one("#unread", Banner)
        if snapshot.problem:
            banner.show(f"Could not read the session: {snapshot.problem}")
        else:
            banner.show_or_clear(engine_trouble(snapshot))
            begun, self.snapshot = snapshot.labelled and not self.snapshot.labelled, snapshot
            with self.app.batch_update():
                self._show(snapshot)
            if begun and isinstance(self.app, LineApp):
                self.app.pass_over()
        if self._build_again or not self.snapshot.labelled:
            self._refresh()

    def _show(self, snapshot: Snapshot) -> None:
        self.query_one(StatusLine).show(snapshot, self.threshold, paused=self.paused)
        self.query_one(MessageLine).show(snapshot)
        self._hear_of_trainings(snapshot)
        for alarm in self.query_one(AlarmLine).follow(snapshot, getattr(self.app, "alarm_command", ())):
            self.query_one(LogPane).add(f"alarm: {alarm.text}")
        current = snapshot.serial == self._serial
        anew = current and self._shown_serial != self._serial
        if self.paused and not anew:
            return
        if snapshot.ids is not None and current and (anew or self.live):
            self._show_list(snapshot, anew=anew)
        merged = snapshot.saves == self._decisions.saved
        self.standing.take(snapshot.labels, snapshot.flagged, snapshot.conflicts, snapshot.changed, merged=merged)
        self._list.say_when_empty(self._why_empty(snapshot))
        self._refetch(snapshot)
        self._entitle()
        self._show_panes(snapshot)
        self._settle_threshold(snapshot)

    def _show_list(self, snapshot: Snapshot, *, anew: bool) -> None:
        if snapshot.ids is None:
            return
        self._shown_serial = snapshot.serial
        self._listable_then = self._listable(snapshot)
        before = self._list.selected
        self._list.show_ids(snapshot.ids)
        if not anew and before is not None and before != self._list.selected:
            self._surprised_at = time.monotonic()

    def _show_panes(self, snapshot: Snapshot) -> None:
        for metrics in self.query(MetricsPane):
            metrics.show(snapshot)
        for history in self.query(HistoryPane):
            history.show(snapshot)
        self.query_one(MetricsLine).show(snapshot)
        if self.query_one("#side").display:
            self.query_one(RunsPane).show(snapshot)
            self.query_one(CurvePane).show(snapshot)
            self.query_one(EnginePane).show(snapshot)
        message = str(snapshot.state.message or "")
        if message and message != self._engine_message:
            self.query_one(LogPane).add(message)
            self._engine_message = message

    def _refetch(self, snapshot: Snapshot) -> None:
        now = time.monotonic()
        if snapshot.version != self._refetched_version and now - self._refetched_at >= REFETCH_S:
            self._refetched_version, self._refetched_at = snapshot.version, now
            self._list.refetch()

    def _listable(self, snapshot: Snapshot) -> int:
        counts = snapshot.counts
        if self._unit == "candidates":
            return counts.candidates
        return counts.frames if self._spec.shown == "all" else counts.hits

    def _why_empty(self, snapshot: Snapshot) -> str:
        if not snapshot.started:
            return "no results yet\nwatch PATH starts an engine"
        if self._spec.text or self._spec.shown in ("undecided", "flagged"):
            return f"no {self._unit.removesuffix('s')} matches the filter\n/ changes it"
        if empty := EMPTY.get(self._spec.order):
            return empty
        wanted = "candidates" if self._unit == "candidates" else "hits"
        return f"no {wanted} yet in {snapshot.counts.frames:,} frames"

    def _entitle(self) -> None:
        snapshot, spec = self.snapshot, self._spec
        fresh = max(self._listable(snapshot) - self._listable_then, 0)
        title = f"Candidates {len(self._list.ids):,}"
        if not self.has_class("-narrow"):
            title += f" · {snapshot.undecided:,} undecided"
        if fresh:
            title += f" · +{fresh:,} new"
        text = f" · {cut(safe_text(spec.text), 16)!r}" if spec.text else ""
        state = "live" if self.live and not self.paused else "frozen"
        # Queues that the labels tell hold misses, too.
        shown = "" if spec.shown == "hits" and spec.order not in FOLLOWING else f" · {spec.shown}"
        self._list.set_titles(title, f"by {spec.order}{shown}{text} · {state}")

    def on_candidate_list_arrived(self) -> None:
        """Show the frame whose row has come."""
        if self._visit.row is None:
            self._show_picture(at_once=not self.live)

    def on_candidate_list_cursor_moved(self, message: CandidateList.CursorMoved) -> None:
        """Show the frame under the cursor; an operator's move freezes the list."""
        if message.by_operator:
            self._freeze()
        self._visit = Visit()
        self._show_picture(at_once=message.by_operator)
