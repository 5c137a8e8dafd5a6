"""What leaves the screen: help, a place to copy, an export, and the operator."""

from __future__ import annotations

import asyncio

from photon_triage.core.common.errors import TriageError
from photon_triage.tui.screens.export_screen import ExportScreen, ExportWish
from photon_triage.tui.screens.help import HelpScreen, help_parts, keys_now
from photon_triage.tui.screens.main.decision_controller import Judging
from photon_triage.tui.terminal.terminal import config_path
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.widgets.keys import SUBJECTS

QUIT_PATIENCE_S = 5.0


class Leaving(Judging):
    """The actions that lead away."""

    def action_help(self) -> None:
        """What the keys do."""
        focused = self.focused
        pane = str(getattr(focused, "border_title", None) or "Keys")
        pane_help = str(getattr(focused, "help_text", ""))
        parts = help_parts(SUBJECTS, keys_now(self, self.app))
        notes = [f"Your own keys: {self._keymap}", f"Theme and pictures: {safe_text(str(config_path()))}"]
        self.app.push_screen(HelpScreen(pane, pane_help, parts, notes))

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
        from photon_triage.core.export import SELECTS, fitting

        def chosen(wish: ExportWish | None) -> None:
            if wish is None:
                self.say("nothing exported")
                return
            self.say(f"exporting {wish.select} as {wish.format} …")
            threshold = self.threshold
            self.run_worker(lambda: self._export(wish, threshold), thread=True, group="export")

        formats = fitting(self.session.recipe())
        self.app.push_screen(ExportScreen(formats, SELECTS, self.session.exports_path), chosen)

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
            self.say("leaving")
            self.run_worker(self._leave(), group="leave")

    async def _leave(self) -> None:
        try:
            await asyncio.wait_for(self._decisions.queue.drained(), QUIT_PATIENCE_S)
        except TimeoutError:
            self.app.exit(1)
        else:
            self.app.exit(1 if self._decisions.lost else 0)
