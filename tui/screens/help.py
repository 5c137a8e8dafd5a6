"""What the keys do: first the pane that has the focus, then the first steps, then every key by subject."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import platformdirs
from rich.table import Table
from rich.text import Text
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from photon_triage.tui.themes import ALL_THEMES, MEANINGS


def keymap_path() -> Path:
    """Where the keymap is looked for."""
    return platformdirs.user_config_path("photon-triage") / "keymap.toml"


def load_keymap(path: Path, known: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The keys by binding id, and what is wrong with the file; a missing file is an empty keymap.

    The file holds one table: `[keys]` with lines such as `accept = "a,plus"`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"Could not read the keymap {path}: {error}."]
    keys = table.get("keys", {})
    if not isinstance(keys, dict):
        return {}, [f"Could not use the keymap {path}: expected a table [keys]."]
    ids = set(known)
    complaints = [f"Keymap {path}: there is no binding {name!r}." for name in keys if name not in ids]
    complaints += [
        f"Keymap {path}: expected a text for {name!r}. Got {value!r} instead."
        for name, value in keys.items()
        if name in ids and not (isinstance(value, str) and value)
    ]
    return {name: value for name, value in keys.items() if name in ids and isinstance(value, str) and value}, complaints


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
        width = max((len(keys) for _, described in self._parts for keys, _ in described), default=0)
        with VerticalScroll(id="help", can_focus=False) as scroll:
            scroll.border_title = Content("Help")
            scroll.border_subtitle = Content("space, j k scroll · ? back")
            yield Static(Content.styled(self._pane, "bold"), markup=False)
            yield Static(Content(self._pane_help), markup=False)
            for subject, described in self._parts:
                yield Static(Content.assemble("\n", (subject, "bold")), markup=False)
                yield Static(_in_columns(described, width))
            yield Static(Content("\n").join([Content(""), *(Content(note) for note in self._notes)]), markup=False)

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


def _in_columns(described: Described, width: int) -> Table:
    """Keys beside what they do, which goes on below itself where it is longer than a line."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=width)
    table.add_column()
    for keys, text in described:
        table.add_row(Text(keys, style="bold"), Text(text))
    return table


HELP = Binding("question_mark", "help", "Help", tooltip="What the keys do", key_display="?")
"""On screens that cover the main one."""
FIRST = ("accept", "reject", "undo", "threshold_down", "threshold_up", "export", "palette", "quit")
"""The ids of the keys that somebody needs who has never been here."""


def help_parts(
    subjects: Iterable[tuple[str, Iterable[Binding]]], keys: Mapping[str, Sequence[str]]
) -> list[tuple[str, Described]]:
    """The first steps, then each subject with what can be done now.

    keys: those of each binding that does something now, as `keys_now` tells them.
    """
    parts = list(subjects)
    every = {binding.id: binding for _, bindings in parts for binding in bindings}
    first = ("First steps", [every[name] for name in FIRST if name in every])
    found = [
        (subject, [(" ".join(keys[name_of(b)]), b.tooltip) for b in bindings if name_of(b) in keys and b.tooltip])
        for subject, bindings in (first, *parts)
    ]
    return [(subject, lines) for subject, lines in found if lines]


def name_of(binding: Binding) -> str:
    """What tells a binding from the others of its screen; those that a keymap can move have an id."""
    return binding.id or binding.action


def own_bindings(screen: Screen[Any]) -> list[Binding]:
    """What can be done on a screen that covers the main one."""
    return [binding for binding in type(screen).BINDINGS if isinstance(binding, Binding)]


def explain(screen: Screen[Any], title: str, text: str, *notes: str) -> None:
    """Open the help of a screen that covers the main one: a text about it, its keys, notes."""
    parts = help_parts([("Keys", own_bindings(screen))], keys_now(screen, screen.app))
    screen.app.push_screen(HelpScreen(title, text, parts, notes))


def keys_now(screen: Screen[Any], app: App[Any]) -> dict[str, list[str]]:
    """The keys of a screen's bindings by name, as the operator's keymap has them; of those that do something now."""
    found: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if active.enabled and (binding.id or active.node is screen):
            found.setdefault(name_of(binding), []).append(app.get_key_display(replace(binding, key_display=None)))
    return found


def commands(app: App[Any], screen: Screen[Any], bindings: Iterable[Binding]) -> Iterable[SystemCommand]:
    """An entry for each binding, by its name and its keys as they are now; then the themes and the screenshot."""
    keys = keys_now(screen, app)
    for binding in bindings:
        if binding.id != "palette":
            shown = " ".join(keys.get(name_of(binding), []))
            title = f"{entry_name(binding)} · {shown}" if shown else entry_name(binding)
            yield SystemCommand(title, binding.tooltip, _runner(screen, binding.action))
    for theme in ALL_THEMES:
        yield SystemCommand(f"Theme {theme.name}", f"Colours: {MEANINGS[theme.name]}", _theme_setter(app, theme.name))
    picture = "Save the screen as an SVG picture"
    yield SystemCommand("Screenshot", picture, lambda: app.set_timer(0.1, app.deliver_screenshot))


def entry_name(binding: Binding) -> str:
    """What the palette calls a binding: its id, where it has one, since some share their name with others."""
    return (binding.id or binding.description).replace("_", " ").capitalize()


def _runner(screen: Screen[Any], action: str) -> Callable[[], Any]:
    return lambda: screen.call_later(screen.run_action, action)


def _theme_setter(app: App[Any], name: str) -> Callable[[], None]:
    return lambda: setattr(app, "theme", name)
