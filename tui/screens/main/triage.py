"""What the parts of the main screen share: its state, and the few things that all of them do."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from textual.screen import Screen
from textual.timer import Timer

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.preview import Previewer
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.screens.main.decisions import Decisions
from photon_triage.tui.snapshot.snapshot import ListSpec, Snapshot
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder
from photon_triage.tui.terminal.repaint import NarrowCompositor, PaintTimer
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.columns import measures_of
from photon_triage.tui.widgets.engine_log import LogPane
from photon_triage.tui.widgets.frame_states import Standing
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.message import Banner, MessageLine
from photon_triage.tui.widgets.pictures import Gallery
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.rows import RowStore
from photon_triage.tui.widgets.sheet import ContactSheet


@dataclass(frozen=True)
class Visit:
    """A look at a neighbour in the run, which need not be in the list.

    row: the neighbour, or None where the picture is of the frame under the cursor. reading: one is being looked up.
    away: how many frames it comes after the one under the cursor, negative before it.
    """

    row: FrameRow | None = None
    reading: bool = False
    away: int = 0


class TriageScreen(Screen[None]):
    """A list, the picture of what is under its cursor, and the decisions made on it."""

    def __init__(self, session: Session, previewer: Previewer | None, keymap: str) -> None:
        super().__init__()
        self._compositor = NarrowCompositor()
        self._paint_timer: Timer | None = None
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
        self.standing = Standing()
        self._list = CandidateList(measures_of(recipe), self._store, self.standing, id="candidates")
        spots = any(stage.kind == "spots" for stage in recipe.stages)
        counts = not recipe.reads_images
        look = Look(peaks=spots, log=counts, rings="off" if not counts else "d" if spots else "q")
        self.gallery = Gallery(self._previewer, self._store, counts=counts)
        self._picture = PreviewPane(self.gallery, look, id="preview")
        self._sheet = ContactSheet(self._list, self.standing, self._previewer, self._store, id="sheet")
        self._sheet.look = look
        self._decisions = Decisions(
            session, self._list, self.standing, told=self._told, say=self.say, warn=self._warn_unsaved
        )
        self._unit = recipe.unit
        self._spec = ListSpec(shown="all" if self._unit == "candidates" else "hits")
        self._serial = 1
        """Raised whenever the list is to be made anew."""
        self._shown_serial = 0
        self._surprised_at = 0.0
        self._trying: float | None = None
        self._quitting = False
        self._visit = Visit()

    @property
    def _update_timer(self) -> Timer:
        if self._paint_timer is None:
            self._paint_timer = PaintTimer(self, self._on_timer_update)
            self._paint_timer._start()
            self._timers.add(self._paint_timer)
        return self._paint_timer

    @property
    def threshold(self) -> float:
        """The threshold on the screen: the one being tried, or the one saved."""
        return self.snapshot.saved_threshold if self._trying is None else self._trying

    def say(self, text: str) -> None:
        """Write the line of messages; a signal may have the screen left before there is one."""
        for line in self.query(MessageLine):
            line.say(text)

    @abstractmethod
    def _refresh(self) -> None:
        """Ask for a snapshot soon."""

    @abstractmethod
    def _entitle(self) -> None:
        """Say in the list's frame what it holds."""

    @abstractmethod
    def _end_visit(self) -> None:
        """Go back from a neighbour in the run to the frame under the cursor."""

    def _freeze(self) -> None:
        if self.live:
            self.live = False
            self._entitle()
            self.say("the list stands still · t follows the newest")

    def _relist(self, spec: ListSpec) -> None:
        self._spec = spec
        self._serial += 1
        self.live = True
        self._refresh()

    def _told(self, text: str) -> None:
        self.query_one("#unsaved", Banner).clear()
        self.say(text)
        self.query_one(LogPane).add(text)
        self._refresh()

    def _warn_unsaved(self, text: str) -> None:
        self.query_one("#unsaved", Banner).show(text)
