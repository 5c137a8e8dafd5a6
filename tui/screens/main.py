"""The screen that triage happens on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, get_args

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from photon_triage.core.errors import TriageError
from photon_triage.core.session.labels import Verdict
from photon_triage.core.session.preview import Previewer
from photon_triage.core.session.rows import FrameRow
from photon_triage.core.session.session import Session
from photon_triage.tui.screens.deciding import Decisions
from photon_triage.tui.screens.export import ExportScreen, ExportWish
from photon_triage.tui.screens.filter import FilterScreen
from photon_triage.tui.screens.help import HelpScreen, described
from photon_triage.tui.snapshot import ORDERS, ListSpec, Request, Snapshot, SnapshotBuilder
from photon_triage.tui.text import cut, safe_text
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.columns import measures_of
from photon_triage.tui.widgets.engine import EnginePane, LogPane, engine_trouble
from photon_triage.tui.widgets.footer import KeyFooter
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.history import HistoryPane, RunsPane
from photon_triage.tui.widgets.keys import ACCEPTED_CLASS, CLASSES, KEYS
from photon_triage.tui.widgets.message import Banner, MessageLine
from photon_triage.tui.widgets.metrics import CurvePane, MetricsLine, MetricsPane, trial_text
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.rows import RowStore
from photon_triage.tui.widgets.status import StatusLine

REFRESH_S = 0.25
REFETCH_S = 2.0
"""Visible rows are read again this often while the engine writes."""
SILENT_S = 3.0
"""Seconds without an answer from the session's folder from which the screen says so."""
SURPRISE_S = 0.4
"""A decision this soon after a live list put another frame under the cursor was meant for the one before; so was one
while its picture is not there yet."""
THRESHOLD_REST_S = 0.8
"""The threshold is written once it has rested this long."""
QUIT_PATIENCE_S = 5.0


class MainScreen(Screen[None]):
    """Candidates, the frame under the cursor, and how the run goes."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]

    class Built(Message):
        """A snapshot is ready."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    def __init__(self, session: Session, previewer: Previewer | None, keymap: str) -> None:
        super().__init__()
        self.session = session
        self.snapshot = Snapshot(0.0)
        self.live = True
        """The list follows the newest; frozen from the first move or decision on."""
        self.paused = False
        recipe = session.recipe()
        self._keymap = keymap
        self._builder = SnapshotBuilder(session)
        self._store = RowStore(session)
        self._previewer = previewer or Previewer(recipe)
        self._list = CandidateList(measures_of(recipe), self._store, id="candidates")
        look = Look(peaks=any(stage.kind == "spots" for stage in recipe.stages), log=not recipe.reads_images)
        self._picture = PreviewPane(self._previewer, self._store, look, id="preview")
        self._decisions = Decisions(session, self._list, told=self._told, say=self.say, warn=self._warn_unsaved)
        self._unit = recipe.unit
        self._spec = ListSpec(shown="all" if self._unit == "candidates" else "hits")
        self._serial = 1
        """Raised whenever the list is to be made anew."""
        self._shown_serial = 0
        self._listable_then = 0
        self._building = self._build_again = False
        self._building_since = 0.0
        self._surprised_at = self._refetched_at = 0.0
        self._refetched_version = 0
        self._trying: float | None = None
        self._threshold_timer: Timer | None = None
        self._engine_message = ""
        self._quitting = False

    def compose(self) -> ComposeResult:
        """All parts at all sizes; the style sheet hides what a narrow terminal has no room for."""
        yield StatusLine(id="status")
        yield Banner(id="unread")
        yield Banner(id="unsaved")
        with Horizontal(id="body"):
            yield self._list
            yield self._picture
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

    @property
    def threshold(self) -> float:
        """The threshold on the screen: the one being tried, or the one saved."""
        return self.snapshot.saved_threshold if self._trying is None else self._trying

    def say(self, text: str) -> None:
        """Write the line of messages."""
        self.query_one(MessageLine).say(text)

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
        wide = self.has_class("-wide")
        request = Request(self._spec, self._serial, live, self._trying, self._decisions.saved, runs=wide)
        self.run_worker(lambda: self._build(request), thread=True, group="snapshot")

    def _build(self, request: Request) -> None:
        self.post_message(self.Built(self._builder.build(request)))

    def on_main_screen_built(self, message: Built) -> None:
        """Paint what is new in one stroke."""
        self._building = False
        snapshot = message.snapshot
        banner = self.query_one("#unread", Banner)
        if snapshot.problem:
            banner.show(f"Could not read the session: {snapshot.problem}")
        else:
            banner.show_or_clear(engine_trouble(snapshot))
            self.snapshot = snapshot
            with self.app.batch_update():
                self._show(snapshot)
        if self._build_again:
            self._refresh()

    def _show(self, snapshot: Snapshot) -> None:
        self.query_one(StatusLine).show(snapshot, self.threshold, paused=self.paused)
        self.query_one(MessageLine).show(snapshot)
        current = snapshot.serial == self._serial
        anew = current and self._shown_serial != self._serial
        if self.paused and not anew:
            return
        if snapshot.ids is not None and current and (anew or self.live):
            self._show_list(snapshot, anew=anew)
        merged = snapshot.saves == self._decisions.saved
        self._list.show_labels(snapshot.labels, snapshot.flagged, snapshot.conflicts, merged=merged)
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
        message = str(snapshot.state.get("message") or "")
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
        self._list.set_titles(title, f"by {spec.order} · {spec.shown}{text} · {state}")

    def _settle_threshold(self, snapshot: Snapshot) -> None:
        if self._threshold_timer is None and self._trying == snapshot.saved_threshold:
            self._trying = None
        elif self._threshold_timer is not None and snapshot.measured and snapshot.measured.threshold == self._trying:
            self.say(trial_text(snapshot))

    def on_candidate_list_arrived(self) -> None:
        """Show the frame whose row has come."""
        self._picture.want(self._list.row, at_once=not self.live)

    def on_candidate_list_moved(self, message: CandidateList.Moved) -> None:
        """Show the frame under the cursor; an operator's move freezes the list."""
        if message.by_operator:
            self._freeze()
        self._picture.want(self._list.row, at_once=message.by_operator)

    # Moving

    def _freeze(self) -> None:
        if self.live:
            self.live = False
            self._entitle()

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        self._freeze()
        self._list.move_by(lines)

    def action_page(self, direction: int) -> None:
        """Move the cursor by half a page."""
        self._freeze()
        self._list.move_by(direction * max(self._list.page // 2, 1))

    def action_end(self, direction: int) -> None:
        """Go to the first or the last line."""
        self._freeze()
        self._list.move_to(0 if direction < 0 else len(self._list.ids) - 1)

    def action_undecided(self, step: int) -> None:
        """Go to the next undecided frame."""
        self._freeze()
        place = self._list.next_undecided(step)
        if place is None:
            self.say("every frame of this list is decided · t goes to the newest")
        else:
            self._list.move_to(place)

    def action_tail(self) -> None:
        """Follow the newest frames."""
        self._relist(replace(self._spec, order="time"))
        self.say("following the newest frames")

    def action_sort(self) -> None:
        """Sort by the next order."""
        order = ORDERS[(ORDERS.index(self._spec.order) + 1) % len(ORDERS)]
        self._relist(replace(self._spec, order=order))
        self.say(f"sorted by {order}")

    def action_filter(self) -> None:
        """Ask for a filter."""

        def filtered(spec: ListSpec | None) -> None:
            if spec is not None and spec != self._spec:
                self._relist(spec)

        self.app.push_screen(FilterScreen(self._spec), filtered)

    def _relist(self, spec: ListSpec) -> None:
        self._spec = spec
        self._serial += 1
        self.live = True
        self._refresh()

    def action_pane(self) -> None:
        """Give the focus to the next pane."""
        self.focus_next()

    # Deciding

    def _target(self) -> FrameRow | None:
        """The frame that a decision is meant for, or None (and a word why) when that is not sure."""
        row = self._list.row
        unseen = row is not None and self._picture.shown_id != row.id
        surprised = self.live and (unseen or time.monotonic() - self._surprised_at < SURPRISE_S)
        self._freeze()
        if self._shown_serial != self._serial or (row is None and len(self._list.ids)):
            self.say("the list is being read: look, then decide")
            return None
        if surprised:
            self.say("the list moved just now: look, then decide")
            return None
        if row is None:
            self.say("there is no frame to decide on")
        return row

    def action_decide(self, verdict: Verdict) -> None:
        """Record a verdict and go on to the next undecided frame."""
        if row := self._target():
            self._decisions.decide(row, verdict)

    def action_classify(self, place: int) -> None:
        """Record a class with the verdict that follows from it, or take the class away."""
        row = self._target()
        if row is None:
            return
        if place:
            category = CLASSES[place - 1]
            self._decisions.decide(row, "accepted" if category == ACCEPTED_CLASS else "rejected", category)
            return
        label = self._list.label(row.id)
        if label is None or not label.category:
            self.say("this frame has no class to clear")
        else:
            self._decisions.decide(row, label.verdict, go_on=False)

    def action_undo(self) -> None:
        """Take back the last decision and return to its frame."""
        self._freeze()
        self._decisions.undo()

    def action_flag(self) -> None:
        """Flag the frame, or take the flag off."""
        if row := self._target():
            self._decisions.flag(row)

    def action_threshold(self, step: int) -> None:
        """Try another threshold; it is written once it rests."""
        self._trying = min(max(round(self.threshold + step * 0.01, 2), 0.0), 1.0)
        if self._threshold_timer is not None:
            self._threshold_timer.stop()
        self._threshold_timer = self.set_timer(THRESHOLD_REST_S, self._save_threshold)
        self.say(f"threshold {self._trying:.2f} …")
        self.query_one(StatusLine).show(self.snapshot, self.threshold, paused=self.paused)
        self._refresh()

    def _save_threshold(self) -> None:
        self._threshold_timer = None
        if self._trying is not None:
            self._decisions.set_threshold(self._trying, lambda: trial_text(self.snapshot))

    def _told(self, text: str) -> None:
        self.query_one("#unsaved", Banner).clear()
        self.say(text)
        self.query_one(LogPane).add(text)
        self._refresh()

    def _warn_unsaved(self, text: str) -> None:
        self.query_one("#unsaved", Banner).show(text)

    # Looking

    def action_zoom(self) -> None:
        """The picture over the whole width, and back."""
        self.toggle_class("-zoom")

    def _look(self, change: Callable[[Look], Look]) -> None:
        self._picture.change_look(change(self._picture.look))

    def action_contrast(self, step: int) -> None:
        """More or less contrast."""
        self._look(lambda look: look.contrast(step))

    def action_logarithm(self) -> None:
        """Logarithmic or linear."""
        self._look(lambda look: replace(look, log=not look.log))

    def action_colours(self) -> None:
        """The next colour map."""
        self._look(Look.next_colours)

    def action_overlay(self) -> None:
        """The next way to show a segmentation."""
        self._look(Look.next_overlay)

    def action_whole(self) -> None:
        """The whole frame or the region: the recipe's, or what is about the candidate."""
        self._look(lambda look: replace(look, whole=not look.whole))

    def action_pause(self) -> None:
        """Hold the screen still, or go on."""
        self.paused = not self.paused
        self.say("the screen is paused, the engine goes on · p follows again" if self.paused else "following again")
        self._entitle()
        self._refresh()

    def action_help(self) -> None:
        """What the keys do."""
        focused = self.focused
        pane = str(getattr(focused, "border_title", None) or "Keys")
        pane_help = str(getattr(focused, "help_text", ""))
        bindings = [active.binding for active in self.active_bindings.values()]
        self.app.push_screen(HelpScreen(pane, pane_help, described(bindings, self.app), self._keymap))

    def action_copy(self) -> None:
        """Copy the frame's place, by the terminal's own clipboard, and show it."""
        row = self._list.row
        if row is None:
            self.say("there is no frame to copy")
            return
        place = f"{row.key.file} //{row.key.index}" + (" {},{}".format(*row.key.point) if row.key.point else "")
        try:
            self.app.copy_to_clipboard(place)
        except UnicodeEncodeError:
            self.app.copy_to_clipboard(safe_text(place))
        self.say(f"copied: {place}")

    def action_export(self) -> None:
        """Ask what to export, and write it off the event loop."""
        from photon_triage.core.export.export import Format
        from photon_triage.core.export.selection import Select

        def chosen(wish: ExportWish | None) -> None:
            if wish is None:
                self.say("nothing exported")
                return
            self.say(f"exporting {wish.select} as {wish.format} …")
            threshold = self.threshold
            self.run_worker(lambda: self._export(wish, threshold), thread=True, group="export")

        self.app.push_screen(ExportScreen(get_args(Format), get_args(Select), self.session.exports_path), chosen)

    def _export(self, wish: ExportWish, threshold: float) -> None:
        from photon_triage.core.export import export

        try:
            written = export(self.session, wish.format, wish.select, threshold, wish.output, wish.incomplete)
        except (TriageError, OSError) as error:
            self.app.call_from_thread(self.say, f"✗ {error}")
        else:
            self.app.call_from_thread(self.say, f"✓ {written.written:,} {self._unit} in {written.path}")

    def action_quit_screen(self) -> None:
        """Leave once what was decided is on disk; the engine goes on."""
        if not self._quitting:
            self._quitting = True
            self.say("leaving: the engine goes on")
            self.run_worker(self._leave(), group="leave")

    async def _leave(self) -> None:
        if self._threshold_timer is not None:
            self._threshold_timer.stop()
            self._save_threshold()
        try:
            await asyncio.wait_for(self._decisions.queue.drained(), QUIT_PATIENCE_S)
        except TimeoutError:
            self.app.exit(1)
        else:
            self.app.exit(1 if self._decisions.lost else 0)
