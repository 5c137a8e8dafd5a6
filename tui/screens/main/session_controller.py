"""The session as a whole: runs, files, powder, export, help, and the way out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.store.runs import TIME
from photon_triage.tui.screens.export_screen import ExportScreen, ExportWish
from photon_triage.tui.screens.files_screen import FilesScreen, RunsScreen
from photon_triage.tui.screens.main.decisions import Decisions
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.screens.powder_screen import PowderScreen
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.keys import PALETTE

QUIT_PATIENCE_S = 5.0


class SessionController(Controller):
    """Opens the screens about the whole session, writes lists, and leaves.

    show_help: opens the help of the main screen.
    """

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "List, threshold, export": [
            Binding("question_mark", "help", "Help", id="help", tooltip="What the keys do", key_display="?"),
            PALETTE,
            Binding("q", "quit_screen", "Quit", id="quit", tooltip="Leave the screen; the engine goes on"),
            Binding("e", "export", "Export", id="export", tooltip="Write a list of frames for the next program"),
            Binding("y", "copy", "Copy", id="copy", tooltip="Copy path //index"),
        ],
        "Runs, files and powder": [
            Binding(
                "R", "runs", "Runs", id="runs", show=False, tooltip="Table of runs over the whole screen, and back"
            ),
            Binding(
                "F", "files", "Files", id="files", show=False, tooltip="Files: why they are not read in full, and notes"
            ),
            Binding(
                "P", "powder", "Powder", id="powder", show=False, tooltip="Virtual powder of hits, misses, difference"
            ),
            Binding(
                "h", "axis", "Hit rate", id="axis", show=False, tooltip="Hit rate over time, against run, or a number"
            ),
        ],
    }

    class ListWritten(Message):
        """An export has ended: `text` says with what."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, triage: Triage, decisions: Decisions, show_help: Callable[[], None]) -> None:
        super().__init__(triage)
        self._decisions, self._show_help = decisions, show_help
        self._quitting = False
        self.axis = TIME
        """What the hit rate is shown against."""
        self.lists_runs = False
        """Whether the table of runs is over the list."""

    def action_runs(self) -> None:
        """The table of runs over the whole screen."""
        triage = self.triage

        def closed(_: None) -> None:
            self.lists_runs = False

        self.lists_runs = True
        triage.refresh()
        triage.screen.app.push_screen(
            RunsScreen(lambda: triage.snapshot, lambda: triage.threshold, self.action_axis), closed
        )

    def action_files(self) -> None:
        """Reasons and notes of files over the whole screen."""
        triage = self.triage
        triage.screen.app.push_screen(FilesScreen(triage.session, lambda: triage.snapshot, lambda: triage.threshold))

    def action_powder(self) -> None:
        """The virtual powder of hits and of misses over the whole screen."""
        triage = self.triage
        look, letters = triage.picture.look, triage.picture.letters
        triage.screen.app.push_screen(
            PowderScreen(triage.session.path, look, lambda: triage.snapshot, lambda: triage.threshold, letters)
        )

    def action_axis(self) -> None:
        """The hit rate over time, against the run, or against the next number that is recorded."""
        axes = list(self.triage.snapshot.axes)
        self.axis = axes[(axes.index(self.axis) + 1) % len(axes)] if self.axis in axes else TIME
        self.triage.say("hit rate over time" if self.axis == TIME else f"hit rate against {safe_text(self.axis)}")
        self.triage.refresh()

    def action_help(self) -> None:
        """What the keys do."""
        self._show_help()

    def action_copy(self) -> None:
        """Copy the frame's place, by the terminal's own clipboard, and show it."""
        row, app = self.triage.list.row, self.triage.screen.app
        if row is None:
            self.triage.say("there is no frame to copy")
            return
        place = f"{row.key.file} //{row.key.index}" + (" {},{}".format(*row.key.point) if row.key.point else "")
        try:
            app.copy_to_clipboard(place)
        except UnicodeEncodeError:
            app.copy_to_clipboard(safe_text(place))
        self.triage.say(f"copied: {place}")

    def action_export(self) -> None:
        """Ask what to export, and write it off the event loop."""
        from photon_triage.core.export import SELECTS, fitting

        triage = self.triage

        def chosen(wish: ExportWish | None) -> None:
            if wish is None:
                triage.say("nothing exported")
                return
            triage.say(f"exporting {wish.select} as {wish.format} …")
            threshold = triage.threshold
            triage.screen.run_worker(lambda: self._export(wish, threshold), thread=True, group="export")

        formats = fitting(triage.session.recipe())
        triage.screen.app.push_screen(ExportScreen(formats, SELECTS, triage.session.exports_path), chosen)

    def _export(self, wish: ExportWish, threshold: float) -> None:
        from photon_triage.core.export import export

        triage = self.triage
        try:
            written = export(triage.session, wish.format, wish.select, threshold, wish.output, wish.incomplete)
        except (TriageError, OSError) as error:
            text = f"✗ {error}"
        else:
            text = f"✓ {written.written:,} {triage.unit} in {written.path}"
        triage.screen.post_message(self.ListWritten(text))

    def action_quit_screen(self) -> None:
        """Leave once what was decided is on disk; the engine goes on."""
        if not self._quitting:
            self._quitting = True
            self.triage.say("leaving")
            self.triage.screen.run_worker(self._leave(), group="leave")

    async def _leave(self) -> None:
        app = self.triage.screen.app
        try:
            await asyncio.wait_for(self._decisions.queue.drained(), QUIT_PATIENCE_S)
        except TimeoutError:
            app.exit(1)
        else:
            app.exit(1 if self._decisions.lost else 0)
