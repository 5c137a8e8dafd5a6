"""State that the controllers of the main screen share, and what a controller is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding
from textual.screen import Screen

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import FOLLOWING
from photon_triage.core.session.store.preview import Previewer
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.snapshot.snapshot import ListSpec, Snapshot
from photon_triage.tui.terminal.text import cut, safe_text
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.columns import measures_of
from photon_triage.tui.widgets.engine_log import LogPane
from photon_triage.tui.widgets.frame_states import Standing
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.message import READ_ONLY, Banner, MessageLine
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


class Triage:
    """A session on the main screen: the list, the picture of the frame under its cursor, and what both show now.

    screen: the screen that the widgets stand on. refresh: asks for a snapshot soon.
    """

    def __init__(
        self, screen: Screen[None], session: Session, previewer: Previewer | None, refresh: Callable[[], None]
    ) -> None:
        self.screen, self.session, self.refresh = screen, session, refresh
        recipe = session.recipe()
        self.unit = recipe.unit
        self.store = RowStore(session)
        self.previewer = previewer or Previewer(recipe)
        self.standing = Standing()
        self.list = CandidateList(measures_of(recipe), self.store, self.standing, id="candidates")
        spots = any(stage.kind == "spots" for stage in recipe.stages)
        counts = not recipe.reads_images
        look = Look(peaks=spots, log=counts, rings="off" if not counts else "d" if spots else "q")
        self.gallery = Gallery(self.previewer, self.store, counts=counts)
        self.picture = PreviewPane(self.gallery, look, id="preview")
        self.sheet = ContactSheet(self.list, self.standing, self.previewer, self.store, id="sheet")
        self.sheet.look = look
        self.snapshot = Snapshot(0.0)
        self.live = True
        """The list follows the newest; frozen from the first move or decision on."""
        self.paused = False
        self.spec = ListSpec(shown="all" if self.unit == "candidates" else "hits")
        self.serial = 1
        """Number of the list that was requested last; raised whenever another is requested."""
        self.shown_serial = 0
        self.listable_when_shown = 0
        self.trial: float | None = None
        """The threshold that is tried, before it is kept."""

    @property
    def threshold(self) -> float:
        """The threshold on the screen: the one being tried, or the one saved."""
        return self.snapshot.saved_threshold if self.trial is None else self.trial

    @property
    def is_listed(self) -> bool:
        """Whether the list on the screen is the one that was requested last."""
        return self.shown_serial == self.serial

    def say(self, text: str) -> None:
        """Write the line of messages; a signal may have the screen left before there is one."""
        for line in self.screen.query(MessageLine):
            line.say(text)

    def report(self, text: str) -> None:
        """Say and log what is on disk now, and ask for a snapshot with it."""
        self.screen.query_one("#unsaved", Banner).clear()
        self.say(text)
        self.screen.query_one(LogPane).add(text)
        self.refresh()

    def warn_unsaved(self, text: str) -> None:
        """Show what could not be saved until something is."""
        self.screen.query_one("#unsaved", Banner).show(text)

    def may_write(self) -> bool:
        """Whether this screen may decide; says why where it may not."""
        if self.session.read_only:
            self.say(READ_ONLY)
        return not self.session.read_only

    def freeze(self) -> None:
        """Let the list stand still: from now on the operator moves it."""
        if self.live:
            self.live = False
            self.show_titles()
            self.say("the list stands still · t follows the newest")

    def show_other_list(self, spec: ListSpec) -> None:
        """Request another list, which follows the newest again."""
        self.spec = spec
        self.serial += 1
        self.live = True
        self.refresh()

    def listable(self) -> int:
        """How many frames or candidates a list without a filter would hold."""
        counts = self.snapshot.counts
        if self.unit == "candidates":
            return counts.candidates
        return counts.frames if self.spec.shown == "all" else counts.hits

    def show_titles(self) -> None:
        """Say in the frame of the list what it holds."""
        spec, narrow = self.spec, self.screen.has_class("-narrow")
        fresh = max(self.listable() - self.listable_when_shown, 0)
        title = f"Candidates {len(self.list.ids):,}"
        if not narrow:
            title += f" · {self.snapshot.undecided:,} undecided"
        if fresh:
            title += f" · +{fresh:,} new"
        text = f" · {cut(safe_text(spec.text), 16)!r}" if spec.text else ""
        state = "live" if self.live and not self.paused else "frozen"
        # Queues that the labels tell hold misses, too.
        shown = "" if spec.shown == "hits" and spec.order not in FOLLOWING else f" · {spec.shown}"
        self.list.set_titles(title, f"by {spec.order}{shown}{text} · {state}")


class Controller:
    """One subject of the main screen: its keys, what they do, and the state that is its own.

    KEYS: bindings by the part of the help that describes them. The action of a binding is a method `action_NAME` here.
    """

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {}

    def __init__(self, triage: Triage) -> None:
        self.triage = triage
