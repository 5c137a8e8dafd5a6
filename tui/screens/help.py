"""What the keys do, beginning with the pane that has the focus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static


class HelpScreen(ModalScreen[None]):
    """A list of keys over the main screen; the key that opened it closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter,escape", "close", "Close", tooltip="Back"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, pane: str, pane_help: str, keys: list[tuple[str, str]], keymap: str) -> None:
        super().__init__()
        self._pane, self._pane_help, self._keys, self._keymap = pane, pane_help, keys, keymap

    def compose(self) -> ComposeResult:
        """Everything in one pane that scrolls."""
        width = max((len(key) for key, _ in self._keys), default=0) + 2
        lines = [Content.styled(self._pane, "bold"), Content(self._pane_help), Content("")]
        for key, text in self._keys:
            lines.append(Content.assemble((key.ljust(width), "bold"), text))
        lines += [Content(""), Content(f"Your own keys: {self._keymap}")]
        with VerticalScroll(id="help", can_focus=False) as scroll:
            scroll.border_title = Content("Help")
            scroll.border_subtitle = Content("j k scroll · ? back")
            yield Static(Content("\n").join(lines), markup=False)

    def action_close(self) -> None:
        """Back to where it was opened."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll without moving pictures."""
        scroll = self.query_one("#help", VerticalScroll)
        scroll.scroll_relative(y=lines, animate=False)


def described(bindings: Iterable[Binding], app: App[Any]) -> list[tuple[str, str]]:
    """(keys, what they do) of the bindings that have a tooltip, keys of one action together."""
    found: dict[str, tuple[list[str], str]] = {}
    for binding in bindings:
        if binding.tooltip and not binding.system:
            keys, _ = found.setdefault(binding.action, ([], binding.tooltip))
            keys.append(app.get_key_display(replace(binding, key_display=None)))
    return [(" ".join(keys), tooltip) for keys, tooltip in found.values()]
