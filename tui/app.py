"""The terminal application, and the function that the commands call to open it."""

from __future__ import annotations

import sys
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode
from textual.driver import Driver

from photon_triage.core.session.preview import Previewer
from photon_triage.core.session.session import Session
from photon_triage.tui.lines import LineApp, LineDriver
from photon_triage.tui.screens.keymap import keymap_path, load_keymap
from photon_triage.tui.screens.main import MainScreen
from photon_triage.tui.text import safe_text
from photon_triage.tui.widgets.keys import KEYS

BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (180, "-wide")]

SWITCH_S = 0.001
"""A thread that reads the session gives way to a key after so long, not after the 5 ms that Python gives it."""


class TriageApp(LineApp):
    """One session on a screen."""

    TITLE = "photon-triage"
    CSS_PATH = "triage.tcss"
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS

    def __init__(
        self,
        session: Session,
        *,
        previewer: Previewer | None = None,
        keymap: Path | None = None,
        driver: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver)
        self.animation_level = "none"
        self._keymap_path = keymap or keymap_path()
        self._main = MainScreen(session, previewer, safe_text(str(self._keymap_path)))
        self._complaints: list[str] = []

    def on_mount(self) -> None:
        """Open the main screen with the operator's keys."""
        known = [binding.id for binding in KEYS if binding.id]
        keys, self._complaints = load_keymap(self._keymap_path, known)
        self.set_keymap(keys)
        self.push_screen(self._main)
        if self._complaints:
            self.call_after_refresh(self._main.say, self._complaints[0])

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Say which built-in keys the operator's keymap took away."""
        names = ", ".join(sorted(binding.id or binding.action for binding in clashed_bindings))
        self.call_after_refresh(self._main.say, f"Keymap {self._keymap_path}: no key is left for {names}.")


def run_screen(session_path: Path, who: str | None = None) -> int:
    """Open the screen of a session and return the exit code: 0, or 1 when decisions could not be written.

    Raises SessionError where there is no session.
    """
    session = Session.open(session_path)
    session.who = who
    code = TriageApp(session, driver=LineDriver).run()
    if code:
        sys.stderr.write("Some decisions could not be saved before leaving.\n")
    return 1 if code is None else code
