"""What the keys do: first the pane that has the focus, then the first steps, then every key by subject."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

Described = Sequence[tuple[str, str]]
"""Keys, and what they do."""


class HelpScreen(ModalScreen[None]):
    """A list of keys over the main screen; the key that opened it closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter,escape", "close", "Close", tooltip="Back"),
        Binding("j,down", "scroll(1)", "Down", show=False),
        Binding("k,up", "scroll(-1)", "Up", show=False),
        Binding("space,pagedown,ctrl+d", "page(1)", "Page down", show=False),
        Binding("backspace,pageup,ctrl+u", "page(-1)", "Page up", show=False),
    ]

    def __init__(self, pane: str, pane_help: str, parts: Sequence[tuple[str, Described]], notes: Sequence[str]) -> None:
        super().__init__()
        self._pane, self._pane_help, self._parts, self._notes = pane, pane_help, parts, notes

    def compose(self) -> ComposeResult:
        """Everything in one pane that scrolls."""
        width = max((len(keys) for _, described in self._parts for keys, _ in described), default=0) + 2
        lines = [Content.styled(self._pane, "bold"), Content(self._pane_help)]
        for subject, described in self._parts:
            lines += [Content(""), Content.styled(subject, "bold")]
            lines += [Content.assemble((keys.ljust(width), "bold"), text) for keys, text in described]
        lines += [Content(""), *(Content(note) for note in self._notes)]
        with VerticalScroll(id="help", can_focus=False) as scroll:
            scroll.border_title = Content("Help")
            scroll.border_subtitle = Content("space, j k scroll · ? back")
            yield Static(Content("\n").join(lines), markup=False)

    def action_close(self) -> None:
        """Back to where it was opened."""
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        """Scroll without moving pictures."""
        scroll = self.query_one("#help", VerticalScroll)
        scroll.scroll_relative(y=lines, animate=False)

    def action_page(self, direction: int) -> None:
        """Scroll by a page less a line."""
        height = self.query_one("#help", VerticalScroll).scrollable_content_region.height
        self.action_scroll(direction * max(height - 1, 1))


FIRST = ("accept", "reject", "undo", "threshold_down", "threshold_up", "export", "palette", "quit")
"""The ids of the keys that somebody needs who has never been here."""


def help_parts(
    subjects: Iterable[tuple[str, Iterable[Binding]]], keys: Mapping[str, Sequence[str]]
) -> list[tuple[str, Described]]:
    """The first steps, then each subject with what can be done now.

    keys: those of each binding's id that does something now, as `keys_now` tells them.
    """
    parts = list(subjects)
    every = {binding.id: binding for _, bindings in parts for binding in bindings}
    first = ("First steps", [every[name] for name in FIRST if name in every])
    found = [
        (subject, [(" ".join(keys[b.id or ""]), b.tooltip) for b in bindings if b.id in keys and b.tooltip])
        for subject, bindings in (first, *parts)
    ]
    return [(subject, lines) for subject, lines in found if lines]


def keys_now(screen: Screen[Any], app: App[Any]) -> dict[str, list[str]]:
    """The keys of a screen's bindings by id, as the operator's keymap has them; only of those that do something now."""
    found: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.id and active.enabled:
            found.setdefault(binding.id, []).append(app.get_key_display(replace(binding, key_display=None)))
    return found
