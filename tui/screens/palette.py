"""The command palette: every action of the screen with its key and what it does, the themes, a screenshot."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from photon_triage.tui.screens.help import keys_now, name_of
from photon_triage.tui.themes import ALL_THEMES, MEANINGS


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
