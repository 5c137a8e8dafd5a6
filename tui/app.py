"""The terminal application, and the function that the commands call to open it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.driver import Driver
from textual.screen import Screen

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.preview import Previewer
from photon_triage.tui.screens.help import commands, keymap_path, load_keymap, own_bindings
from photon_triage.tui.screens.main.screen import KEYS, MainScreen
from photon_triage.tui.terminal.images import PictureOutput, choose_output
from photon_triage.tui.terminal.images.query import Graphics, ask_terminal
from photon_triage.tui.terminal.slow_terminal import LineApp, LineDriver
from photon_triage.tui.terminal.terminal import Display, clipboard, this_terminal
from photon_triage.tui.terminal.text import safe_text
from photon_triage.tui.themes import ALL_THEMES, DEFAULT_THEME, PLAIN_THEME
from photon_triage.tui.widgets.keys import PALETTE

BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (180, "-wide")]


class TriageApp(LineApp):
    """One session on a screen."""

    TITLE = "photon-triage"
    CSS_PATH = "triage.tcss"
    HORIZONTAL_BREAKPOINTS = BREAKPOINTS
    BINDINGS: ClassVar[list[BindingType]] = [PALETTE]
    """In place of Textual's own key for it, which no other binding can stand above."""

    def __init__(
        self,
        session: Session,
        *,
        previewer: Previewer | None = None,
        keymap: Path | None = None,
        driver: type[Driver] | None = None,
        theme: str | None = None,
        output: PictureOutput | None = None,
        complaint: str = "",
    ) -> None:
        super().__init__(driver)
        self.animation_level = "none"
        self.output = output or PictureOutput()
        self.letters = self.no_color or self.console.color_system in (None, "standard")
        """Whether pictures are made of characters, for want of colours."""
        for one in ALL_THEMES:
            self.register_theme(one)
        self.theme = theme or (PLAIN_THEME if self.letters and not self.no_color else DEFAULT_THEME)
        self._keymap_path = keymap or keymap_path()
        self._main = MainScreen(session, previewer, safe_text(str(self._keymap_path)))
        self._complaints = [complaint] if complaint else []
        self.alarm_command: Sequence[str] = ()
        """Words of a command that this screen runs for each alarm."""

    def on_mount(self) -> None:
        """Open the main screen with the operator's keys."""
        known = [binding.id for binding in KEYS if binding.id]
        keys, complaints = load_keymap(self._keymap_path, known)
        self._complaints += complaints
        self.set_keymap(keys)
        self.push_screen(self._main)
        self.leave_on_hangup(self._main.leave)
        if self._complaints:
            self.call_after_refresh(self._main.say, self._complaints[0])

    async def action_quit(self) -> None:
        """Leave as `q` does from every screen, by Textual's own key: once what was decided is on disk."""
        self._main.leave()

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette lists: every action, with its key."""
        if screen is not self._main:
            return commands(self, screen, own_bindings(screen))
        return [*commands(self, screen, KEYS), *self._main.queue_commands()]

    def copy_to_clipboard(self, text: str) -> None:
        """Put a text on the terminal's clipboard (OSC 52), through tmux and screen too."""
        self.keep_clipboard(text)
        self.send(clipboard(text, self.output.multiplexer))

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Say which built-in keys the operator's keymap took away."""
        names = ", ".join(sorted(binding.id or binding.action for binding in clashed_bindings))
        self.call_after_refresh(self._main.say, f"Keymap {self._keymap_path}: no key is left for {names}.")


def run_screen(
    session_path: Path,
    who: str | None = None,
    display: Display | None = None,
    *,
    read_only: bool = False,
    alarm_command: Sequence[str] = (),
    ending: Callable[[], None] = lambda: None,
) -> int:
    """Open the screen of a session and return the exit code: 0, or 1 when decisions could not be written.

    `ending` is called when it is left, also where its terminal has gone and what follows this call never happens.

    Raises SessionError where there is no session.
    """
    session = Session.open(session_path)
    session.who, session.read_only = who, read_only
    display, terminal = display or Display(), this_terminal()
    graphics = ask_terminal() if display.images in ("sixel", "kitty") else Graphics()
    output, complaint = choose_output(display.images, terminal, graphics)
    app = TriageApp(session, driver=LineDriver, theme=display.theme, output=output, complaint=complaint)
    app.alarm_command = alarm_command
    code = app.run_on_line(ending)
    if code:
        sys.stderr.write("Some decisions could not be saved before leaving.\n")
    return code
