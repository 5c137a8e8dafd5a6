"""The screen that triage happens on: its layout, its snapshots, and its controllers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.preview import Previewer
from photon_triage.tui.screens.help import HelpScreen, help_parts, keys_now
from photon_triage.tui.screens.main.audit_controller import AuditController
from photon_triage.tui.screens.main.decision_controller import DecisionController
from photon_triage.tui.screens.main.decisions import Decisions
from photon_triage.tui.screens.main.list_controller import ListController
from photon_triage.tui.screens.main.picture_controller import PictureController
from photon_triage.tui.screens.main.session_controller import SessionController
from photon_triage.tui.screens.main.training_controller import TrainingController
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.snapshot.snapshot import Request, Snapshot
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder
from photon_triage.tui.terminal.repaint import PromptScreen
from photon_triage.tui.terminal.slow_terminal import LineApp
from photon_triage.tui.terminal.terminal import config_path
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.engine_log import EnginePane, LogPane, engine_trouble
from photon_triage.tui.widgets.files import RunsPane
from photon_triage.tui.widgets.history import HistoryPane
from photon_triage.tui.widgets.keys import KeyFooter, in_footer_order
from photon_triage.tui.widgets.message import AlarmLine, Banner, MessageLine
from photon_triage.tui.widgets.metrics_pane import CurvePane, MetricsLine, MetricsPane
from photon_triage.tui.widgets.neighbours import NeighbourPane
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.radial import RadialPane
from photon_triage.tui.widgets.status import StatusLine

REFRESH_S = 0.25
SILENT_S = 3.0
"""Seconds without an answer from the session's folder from which the screen says so."""
CONTROLLERS: tuple[type[Controller], ...] = (
    AuditController,
    DecisionController,
    ListController,
    PictureController,
    TrainingController,
    SessionController,
)
KEYS = in_footer_order(key for each in CONTROLLERS for keys in each.KEYS.values() for key in keys)
"""The keys of the main screen."""
HELP_PARTS = (
    "While a threshold is tried",
    "Decide",
    "List, threshold, export",
    "Learn",
    "Runs, files and powder",
    "Move",
    "Picture",
)
SUBJECTS: tuple[tuple[str, list[Binding]], ...] = tuple(
    (part, in_footer_order(key for each in CONTROLLERS for key in each.KEYS.get(part, ()))) for part in HELP_PARTS
)
"""All keys as help groups them."""


class MainScreen(PromptScreen):
    """Candidates, the frame under the cursor, and how the run goes."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]

    class Built(Message):
        """A snapshot is ready."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    def __init__(self, session: Session, previewer: Previewer | None, keymap: str) -> None:
        super().__init__()
        self._keymap = keymap
        triage = self.triage = Triage(self, session, previewer, self._refresh)
        self.decisions = Decisions(
            session, triage.list, triage.standing, told=triage.report, say=triage.say, warn=triage.warn_unsaved
        )
        self.picture = PictureController(triage)
        self.list = ListController(triage, self.picture, self.decisions.work_from)
        self.audit = AuditController(triage, self.list, self.decisions)
        self.training = TrainingController(triage, self.decisions)
        self.session = SessionController(triage, self.decisions, self._show_help)
        decision = DecisionController(triage, self.list, self.picture, self.decisions)
        for controller in (self.audit, decision, self.list, self.picture, self.training, self.session):
            for name in dir(controller):
                if name.startswith("action_"):
                    setattr(self, name, getattr(controller, name))  # where Textual looks for the action of a key
        self._builder = SnapshotBuilder(session)
        self._builders = ThreadPoolExecutor(1, "snapshot")
        """The builder's own thread: SQLite wants one and the same for a connection."""
        self._building = self._build_again = False
        self._building_since = 0.0
        self._engine_message = ""

    def compose(self) -> ComposeResult:
        """All parts at all sizes; the style sheet hides what a narrow terminal has no room for."""
        yield StatusLine(id="status")
        yield Banner(id="unread")
        yield Banner(id="unsaved")
        yield AlarmLine(id="alarms")
        with Horizontal(id="body"):
            yield self.triage.list
            yield self.triage.sheet
            with Vertical(id="frame"):
                yield self.triage.picture
                yield RadialPane(id="radial")
                yield NeighbourPane(self.triage.standing, id="beside")
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
        self.query_one(StatusLine).mark = "READ-ONLY" if self.triage.session.read_only else ""
        self.triage.list.focus()
        self.triage.list.say_when_empty("reading the session …")
        self.run_worker(self.decisions.queue.run(), group="saves")
        self.set_interval(REFRESH_S, self._refresh)
        self._refresh()

    def on_unmount(self) -> None:
        """Let go of files and processes."""
        self.triage.previewer.close()
        self._builder.close()
        self.triage.store.close()
        self.decisions.close()

    @property
    def snapshot(self) -> Snapshot:
        """The newest answer of the session."""
        return self.triage.snapshot

    def say(self, text: str) -> None:
        """Write the line of messages."""
        self.triage.say(text)

    def leave(self) -> None:
        """Leave once what was decided is on disk."""
        self.session.action_quit_screen()

    def queue_commands(self) -> Iterable[SystemCommand]:
        """List for the palette what has no key of its own: each queue, and the draw."""
        return [*self.list.queue_commands(), *self.audit.draw_command()]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which actions there are now: while a threshold is tried, some keys are those of the trial."""
        return super().check_action(action, parameters) if self.audit.allows(action) else False

    def _show_help(self) -> None:
        focused = self.focused
        pane = str(getattr(focused, "border_title", None) or "Keys")
        parts = help_parts(SUBJECTS, keys_now(self, self.app))
        notes = [f"Your own keys: {self._keymap}", f"Theme and pictures: {safe_text(str(config_path()))}"]
        self.app.push_screen(HelpScreen(pane, str(getattr(focused, "help_text", "")), parts, notes))

    # Snapshots

    def _refresh(self) -> None:
        if self._building:
            self._build_again = True
            silent = time.monotonic() - self._building_since
            if silent > SILENT_S:
                self.query_one("#unread", Banner).show(f"The session's folder has not answered for {silent:.0f} s.")
            return
        self._building, self._build_again = True, False
        self._building_since = time.monotonic()
        triage = self.triage
        request = Request(
            triage.spec,
            triage.serial,
            triage.live and not triage.paused,
            triage.trial,
            self.decisions.saved,
            runs=self.has_class("-wide") or self.session.lists_runs,
            axis=self.session.axis,
        )
        self.run_worker(self._build(request), group="snapshot", exclusive=True)

    async def _build(self, request: Request) -> None:
        snapshot = await asyncio.get_running_loop().run_in_executor(self._builders, self._builder.build, request)
        self.post_message(self.Built(snapshot))

    def on_main_screen_built(self, message: Built) -> None:
        """Paint what is new in one stroke."""
        self._building = False
        snapshot, before = message.snapshot, self.snapshot
        banner = self.query_one("#unread", Banner)
        if snapshot.problem:
            banner.show(f"Could not read the session: {snapshot.problem}")
        else:
            banner.show_or_clear(engine_trouble(snapshot))
            self.triage.snapshot = snapshot
            with self.app.batch_update():
                self._show(snapshot)
            if snapshot.labelled and not before.labelled and isinstance(self.app, LineApp):
                self.app.pass_over()
        if self._build_again or not self.snapshot.labelled:
            self._refresh()

    def _show(self, snapshot: Snapshot) -> None:
        triage = self.triage
        self.query_one(StatusLine).show(snapshot, triage.threshold, paused=triage.paused)
        self.query_one(MessageLine).show(snapshot)
        self.training.follow(snapshot)
        for alarm in self.query_one(AlarmLine).follow(snapshot, getattr(self.app, "alarm_command", ())):
            self.query_one(LogPane).add(f"alarm: {alarm.text}")
        another = snapshot.serial == triage.serial and not triage.is_listed
        if triage.paused and not another:
            return
        self.list.show(snapshot, saved=self.decisions.saved)
        self._show_panes(snapshot)
        self.audit.settle_threshold(snapshot)

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

    # What widgets and workers report, each to its controller

    def on_candidate_list_arrived(self) -> None:
        """Show the frame whose row has come."""
        self.picture.show_arrived_row()

    def on_candidate_list_cursor_moved(self, message: CandidateList.CursorMoved) -> None:
        """Show the frame under the cursor."""
        self.picture.follow_cursor(by_operator=message.by_operator)

    def on_preview_pane_picture_shown(self, message: PreviewPane.PictureShown) -> None:
        """Show what belongs to the picture."""
        self.picture.show_beside(message.picture)

    def on_picture_controller_neighbour_read(self, message: PictureController.NeighbourRead) -> None:
        """Show a neighbour in the run."""
        self.picture.show_neighbour(message)

    def on_audit_controller_frames_drawn(self, message: AuditController.FramesDrawn) -> None:
        """List the frames that were drawn."""
        self.audit.show_draw(message)

    def on_training_controller_shadow_refused(self, message: TrainingController.ShadowRefused) -> None:
        """Say why a model cannot run in shadow mode."""
        self.say(f"✗ {message.problem}")

    def on_session_controller_list_written(self, message: SessionController.ListWritten) -> None:
        """Say where a list is, or why there is none."""
        self.say(message.text)
