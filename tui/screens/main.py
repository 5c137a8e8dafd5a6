"""The screen that triage happens on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, get_args

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from photon_triage.core.errors import TriageError
from photon_triage.core.session.labels import Label, LabelWriter, Verdict
from photon_triage.core.session.preview import Preview, Previewer
from photon_triage.core.session.results import Detection, FrameRow
from photon_triage.core.session.session import Session
from photon_triage.tui.screens.export import ExportScreen, ExportWish
from photon_triage.tui.screens.filter import FilterScreen
from photon_triage.tui.screens.help import HelpScreen
from photon_triage.tui.screens.keymap import keymap_path
from photon_triage.tui.screens.saving import SaveQueue
from photon_triage.tui.snapshot import ORDERS, ListSpec, Request, RowStore, Snapshot, SnapshotBuilder
from photon_triage.tui.text import cut, safe_text
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.columns import measures_of
from photon_triage.tui.widgets.engine import EnginePane, LogPane, engine_summary
from photon_triage.tui.widgets.footer import KeyFooter
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.history import HistoryPane, RunsPane
from photon_triage.tui.widgets.keys import ACCEPTED_CLASS, CLASSES, KEYS
from photon_triage.tui.widgets.metrics import NO_AUDIT, CurvePane, MetricsLine, MetricsPane, with_interval
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.status import StatusLine

REFRESH_S = 0.25
PICTURE_REST_S = 1.0
"""A live list changes the picture no more often than this."""
SURPRISE_S = 0.4
"""A decision this soon after a live list put another frame under the cursor was meant for the one before."""
THRESHOLD_REST_S = 0.8
"""The threshold is written once it has rested this long."""
QUIT_PATIENCE_S = 5.0
MARKS: dict[Verdict, str] = {"accepted": "✓", "rejected": "✗", "skipped": "–"}


class MainScreen(Screen[None]):
    """Candidates, the frame under the cursor, and how the run goes."""

    BINDINGS: ClassVar[list[BindingType]] = [*KEYS]

    class Built(Message):
        """A snapshot is ready."""

        def __init__(self, snapshot: Snapshot) -> None:
            super().__init__()
            self.snapshot = snapshot

    class Fetched(Message):
        """Rows are ready."""

        def __init__(self, rows: dict[int, FrameRow]) -> None:
            super().__init__()
            self.rows = rows

    class Loaded(Message):
        """A frame is ready, or why it is not."""

        def __init__(self, row: FrameRow, preview: Preview | str, detections: list[Detection]) -> None:
            super().__init__()
            self.row = row
            self.preview = preview
            self.detections = detections

    def __init__(self, session: Session, previewer: Previewer | None = None) -> None:
        super().__init__()
        self.session = session
        self.snapshot = Snapshot(0.0)
        self.live = True
        self.paused = False
        self._recipe = session.recipe()
        self._builder = SnapshotBuilder(session)
        self._store = RowStore(session)
        self._previewer = previewer or Previewer(self._recipe)
        self._journal = session.journal()
        self._writer = LabelWriter(self._journal)
        self._saves = SaveQueue()
        self._saved_count = 0
        self._spec = ListSpec()
        self._serial = 1
        self._shown_serial = 0
        self._hits_listed = 0
        self._building = self._build_again = False
        self._loading = False
        self._wanted: FrameRow | None = None
        self._picture_at = self._surprised_at = 0.0
        self._picture_score: float | None = None
        self._trying: float | None = None
        self._threshold_timer: Timer | None = None
        self._undoable: list[tuple[int, Label | None]] = []
        self._model: object = None
        self._engine_message = ""
        self._said = ""
        self._quitting = False

    # Layout

    def compose(self) -> ComposeResult:
        """All parts at all sizes; the style sheet hides what a narrow terminal has no room for."""
        peaks = any(stage.kind == "spots" for stage in self._recipe.stages)
        yield StatusLine(id="status")
        yield Static("", id="banner", markup=False)
        with Horizontal(id="body"):
            yield CandidateList(measures_of(self._recipe), id="candidates")
            yield PreviewPane(Look(peaks=peaks), id="preview")
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
        yield Static("", id="message", markup=False)
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Begin to follow the session."""
        self._list.focus()
        self._list.say_when_empty("reading the session …")
        self.run_worker(self._saves.run(), group="saves")
        self.set_interval(REFRESH_S, self._refresh)
        self._refresh()

    def on_unmount(self) -> None:
        """Let go of files and processes."""
        self._previewer.close()
        self._builder.close()
        self._store.close()
        self._journal.close()

    def on_resize(self) -> None:
        """Fit the line of messages."""
        self.say(self._said)

    # What is shown

    @property
    def threshold(self) -> float:
        """The threshold on the screen: the one being tried, or the one saved."""
        return self.snapshot.saved_threshold if self._trying is None else self._trying

    @property
    def _list(self) -> CandidateList:
        return self.query_one(CandidateList)

    @property
    def _picture(self) -> PreviewPane:
        return self.query_one(PreviewPane)

    def _refresh(self) -> None:
        if self._building:
            self._build_again = True
            return
        self._building = True
        live = self.live and not self.paused
        request = Request(self._spec, self._serial, live, self._trying, self._saved_count)
        self.run_worker(lambda: self._build(request), thread=True, exclusive=True, group="snapshot")

    def _build(self, request: Request) -> None:
        self.post_message(self.Built(self._builder.build(request)))

    def on_main_screen_built(self, message: Built) -> None:
        """Paint what is new in one stroke."""
        self._building = False
        snapshot = message.snapshot
        if snapshot.saves < 0:
            self._warn(f"Could not read the session: {snapshot.problem}", saving=False)
        else:
            self._forgive(saving=False)
            self.snapshot = snapshot
            with self.app.batch_update():
                self._show(snapshot)
        if self._build_again:
            self._build_again = False
            self._refresh()

    def _show(self, snapshot: Snapshot) -> None:
        self.query_one(StatusLine).show(snapshot, self.threshold, paused=self.paused)
        if snapshot.serial != self._serial and snapshot.ids is not None:
            self._build_again = True
        if self.paused and snapshot.ids is None:
            return
        candidates = self._list
        model = snapshot.state.get("model")
        if model != self._model:
            self._model = model
            candidates.forget_rows()
        if snapshot.ids is not None and snapshot.serial == self._serial:
            self._show_list(snapshot)
        candidates.show_labels(
            snapshot.labels, snapshot.flagged, snapshot.conflicts, merged=snapshot.saves == self._saved_count
        )
        candidates.say_when_empty(self._why_empty(snapshot))
        self._entitle()
        for pane in self.query(MetricsPane):
            pane.show(snapshot)
        for history in self.query(HistoryPane):
            history.show(snapshot)
        self.query_one(MetricsLine).show(snapshot)
        if self.query_one("#side").display:
            self.query_one(RunsPane).show(snapshot)
            self.query_one(CurvePane).show(snapshot)
            self.query_one(EnginePane).show(snapshot)
        self._follow_engine(snapshot)
        if self._threshold_timer is not None and snapshot.measured and snapshot.measured.threshold == self._trying:
            self.say(self._trial(snapshot))
        if self._threshold_timer is None and self._trying == snapshot.saved_threshold:
            self._trying = None

    def _show_list(self, snapshot: Snapshot) -> None:
        anew = self._shown_serial != snapshot.serial
        self._shown_serial = snapshot.serial
        if snapshot.ids is None or not (anew or self.live):
            return
        self._hits_listed = self._listable(snapshot)
        before = self._list.selected
        self._list.show_ids(snapshot.ids, keep_frame=False)
        if not anew and before is not None and before != self._list.selected:
            self._surprised_at = time.monotonic()

    def _listable(self, snapshot: Snapshot) -> int:
        return snapshot.counts.frames if self._spec.shown == "all" else snapshot.counts.hits

    def _why_empty(self, snapshot: Snapshot) -> str:
        if not snapshot.started:
            return "  no results yet: engine starting, or not running · watch PATH starts it"
        if self._spec.text or self._spec.shown in ("undecided", "flagged"):
            return "  no frame matches the filter · / changes it"
        return f"  no hits yet in {snapshot.counts.frames:,} frames"

    def _entitle(self) -> None:
        snapshot, spec = self.snapshot, self._spec
        fresh = max(self._listable(snapshot) - self._hits_listed, 0)
        title = f"Candidates {len(self._list.ids):,}"
        if not self.has_class("-narrow"):
            title += f" · {snapshot.undecided:,} undecided"
        if fresh:
            title += f" · +{fresh:,} new"
        text = f" · {cut(safe_text(spec.text), 16)!r}" if spec.text else ""
        state = "live" if self.live and not self.paused else "frozen"
        self._list.set_titles(title, f"by {spec.order} · {spec.shown}{text} · {state}")

    def _follow_engine(self, snapshot: Snapshot) -> None:
        message = str(snapshot.state.get("message") or "")
        if message and message != self._engine_message:
            self.query_one(LogPane).add(message)
            self._engine_message = message
        if not self._said:
            self.say("")
        else:
            self.say(self._said)

    def _trial(self, snapshot: Snapshot) -> str:
        measured = snapshot.measured
        told = f"threshold {self.threshold:.2f}: {snapshot.selected:,} selected"
        if measured is None or measured.labelled.n == 0:
            return f"{told} · no labels"
        labelled = measured.labelled
        recall = with_interval("R", measured.audit.recall) if measured.audit else NO_AUDIT
        return f"{told} · {with_interval('P', labelled.precision)} n={labelled.n} · {recall}"

    def say(self, text: str) -> None:
        """Write the line of messages, with the engine's state on its right where there is room."""
        self._said = text
        line = self.query_one("#message", Static)
        width = line.size.width - 2
        right = engine_summary(self.snapshot)
        left = cut(safe_text(text), max(width, 0))
        if not text:
            left, right = cut(right, max(width, 0)), ""
        room = width - Content(left).cell_length
        tail = right.rjust(room) if Content(right).cell_length + 2 <= room else ""
        line.update(Content(f" {left}{tail}"))

    def _warn(self, text: str, *, saving: bool) -> None:
        """Show a banner that stays until it is true no longer."""
        banner = self.query_one("#banner", Static)
        banner.update(Content(f" ! {safe_text(text)}"))
        banner.set_class(True, "-shown")
        banner.set_class(saving, "-saving")

    def _forgive(self, *, saving: bool) -> None:
        banner = self.query_one("#banner", Static)
        if banner.has_class("-shown") and banner.has_class("-saving") == saving:
            banner.remove_class("-shown", "-saving")

    # Rows and pictures

    def on_candidate_list_wanted(self, message: CandidateList.Wanted) -> None:
        """Fetch rows off the event loop."""
        self.run_worker(lambda: self._fetch(message.ids), thread=True, group="rows")

    def _fetch(self, ids: list[int]) -> None:
        self.post_message(self.Fetched(self._store.fetch(ids)))

    def on_main_screen_fetched(self, message: Fetched) -> None:
        """Show rows that were fetched."""
        self._list.show_rows(message.rows)

    def on_candidate_list_arrived(self) -> None:
        """Show the frame whose row has come."""
        self._want_picture(at_once=not self.live)

    def on_candidate_list_moved(self, message: CandidateList.Moved) -> None:
        """Show the frame under the cursor; an operator's move freezes the list."""
        if message.by_operator:
            self._freeze()
        if message.frame_id is None:
            self._picture.show_message("")
        self._want_picture(at_once=message.by_operator)

    def _want_picture(self, *, at_once: bool) -> None:
        rest = PICTURE_REST_S - (time.monotonic() - self._picture_at)
        if not at_once and rest > 0:
            self.set_timer(rest, lambda: self._want_picture(at_once=False))
            return
        row = self._list.row
        if row is None or (row.id == self._picture.frame_id and row.score == self._picture_score):
            return
        self._wanted = row
        self._load_next()

    def _load_next(self) -> None:
        if self._loading or self._wanted is None:
            return
        row, self._wanted = self._wanted, None
        whole = self._picture.look.whole
        self._loading = True
        self.run_worker(lambda: self._load(row, whole), thread=True, group="picture")

    def _load(self, row: FrameRow, whole: bool) -> None:
        try:
            preview: Preview | str = self._previewer.load(row.key, whole=whole)
        except (TriageError, OSError, ValueError) as error:
            preview = str(error)
        self.post_message(self.Loaded(row, preview, self._store.detections(row.id)))

    def on_main_screen_loaded(self, message: Loaded) -> None:
        """Draw a frame unless the cursor has gone on."""
        self._loading = False
        if message.row.id == self._list.selected:
            self._picture_at = time.monotonic()
            self._picture_score = message.row.score
            if isinstance(message.preview, str):
                self._picture.show_message(message.preview, message.row)
            else:
                self._picture.show_frame(message.row, message.preview, message.detections)
        self._load_next()

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
        surprised = self.live and time.monotonic() - self._surprised_at < SURPRISE_S
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
        self._decide(verdict, "")

    def action_classify(self, place: int) -> None:
        """Record a class with the verdict that follows from it, or take the class away."""
        if place == 0:
            selected = self._list.selected
            label = None if selected is None else self._list.label(selected)
            if label is None or not label.category:
                self.say("this frame has no class to clear")
            else:
                self._decide(label.verdict, "", go_on=False)
            return
        category = CLASSES[place - 1]
        self._decide("accepted" if category == ACCEPTED_CLASS else "rejected", category)

    def _decide(self, verdict: Verdict, category: str, *, go_on: bool = True) -> None:
        row = self._target()
        if row is None:
            return
        candidates = self._list
        if candidates.is_saving(row.id):
            self.say(f"{row.id} is still being saved")
            return
        before = candidates.label(row.id)
        candidates.show_saving(row.id, True)

        def done(record: Any) -> None:
            self._undoable.append((row.id, before))
            candidates.show_saving(row.id, False)
            candidates.show_saved(row.id, Label(row.key, verdict, record.who, record.time, category))
            named = f" as {category}" if category else ""
            self._told(f"{MARKS[verdict]} {row.id} {verdict}{named} ({self._writer.undoable} undoable)")

        def failed(error: TriageError) -> None:
            candidates.show_saving(row.id, False)
            self._not_saved(error, row.id)

        self._saves.put(
            lambda: self._writer.decide(row.key, verdict, category=category, digest=row.digest), done, failed
        )
        place = candidates.next_undecided() if go_on else None
        if place is not None:
            candidates.move_to(place)

    def action_undo(self) -> None:
        """Take back the last decision and return to its frame."""
        self._freeze()

        def done(key: Any) -> None:
            if key is None:
                self.say("nothing to undo on this screen")
                return
            frame, before = self._undoable.pop()
            self._list.show_saved(frame, before)
            place = self._list.place_of(frame)
            if place is not None:
                self._list.move_to(place)
            where = "" if place is not None else " · not in this list"
            self._told(f"↶ {frame} is {before.verdict if before else 'undecided'} again{where}")

        self._saves.put(self._writer.undo, done, lambda error: self._not_saved(error, None))

    def action_flag(self) -> None:
        """Flag the frame, or take the flag off."""
        row = self._target()
        if row is None:
            return
        flagged = not self._list.flagged(row.id)

        def done(_: Any) -> None:
            self._list.show_flag(row.id, flagged)
            self._told(f"{row.id} {'flagged' if flagged else 'no longer flagged'}")

        self._saves.put(lambda: self._writer.flag(row.key, flagged), done, lambda error: self._not_saved(error, None))

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
        value = self._trying
        if value is None:
            return

        def done(_: Any) -> None:
            self._told(f"✓ {self._trial(self.snapshot).replace('threshold', 'threshold saved:', 1)}")

        self._saves.put(lambda: self._writer.set_threshold(value), done, lambda error: self._not_saved(error, None))

    def _told(self, text: str) -> None:
        """Something is on disk: say so."""
        self._saved_count += 1
        self._forgive(saving=True)
        self.say(text)
        self.query_one(LogPane).add(text)
        self._refresh()

    def _not_saved(self, error: TriageError, frame: int | None) -> None:
        """Say that something is not on disk, and return to the frame that is undecided still."""
        self._warn(f"{error.title}: {error}", saving=True)
        self.say(f"{frame} is not decided: it could not be saved" if frame is not None else "not saved")
        place = self._list.place_of(frame) if frame is not None else None
        if place is not None:
            self._list.move_to(place)

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

    def action_whole(self) -> None:
        """The whole frame or the recipe's region."""
        self._look(lambda look: replace(look, whole=not look.whole))
        self._wanted = self._list.row
        self._load_next()

    def action_pause(self) -> None:
        """Hold the screen still, or go on."""
        self.paused = not self.paused
        self.say("the screen is paused, the engine goes on · p follows again" if self.paused else "following again")
        self._entitle()
        self._refresh()

    def action_help(self) -> None:
        """What the keys do."""
        focused: Widget | None = self.focused
        pane = getattr(focused, "border_title", None) or Content("Keys")
        help_text = str(getattr(focused, "help_text", ""))
        shown: dict[str, tuple[list[str], str]] = {}
        for active in self.active_bindings.values():
            binding = active.binding
            if binding.tooltip and not binding.system:
                keys, _ = shown.setdefault(binding.action, ([], binding.tooltip))
                name = self.app.get_key_display(replace(binding, key_display=None))
                keys.append(name)
        lines = [(" ".join(keys), text) for keys, text in shown.values()]
        self.app.push_screen(HelpScreen(str(pane), help_text, lines, safe_text(str(keymap_path()))))

    def action_copy(self) -> None:
        """Copy the frame's place, by the terminal's own clipboard, and show it."""
        row = self._list.row
        if row is None:
            self.say("there is no frame to copy")
            return
        place = f"{row.key.file} //{row.key.index}"
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
            written = export(
                self.session,
                wish.format,
                wish.select,
                threshold,
                wish.output,
                incomplete=wish.incomplete,
            )
        except (TriageError, OSError) as error:
            self.app.call_from_thread(self.say, f"✗ {error}")
        else:
            self.app.call_from_thread(self.say, f"✓ {written.written:,} frames in {written.path}")

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
            await asyncio.wait_for(self._saves.drained(), QUIT_PATIENCE_S)
        except TimeoutError:
            self.app.exit(1)
        else:
            self.app.exit(0)
