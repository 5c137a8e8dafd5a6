"""The command palette: every action of the screen with its key and what it does, the themes, a screenshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from photon_triage.tui.screens.help import described
from photon_triage.tui.themes import ALL_THEMES, MEANINGS


def commands(app: App[Any], screen: Screen[Any], bindings: Iterable[Binding]) -> Iterable[SystemCommand]:
    """An entry for each binding, by its name and its keys as they are now; then the themes and the screenshot."""
    for binding in bindings:
        ((keys, tooltip),) = described([binding], app) or [("", "")]
        if tooltip and binding.id != "palette":
            yield SystemCommand(f"{entry_name(binding)}  [{keys}]", tooltip, _runner(screen, binding.action))
    for theme in ALL_THEMES:
        yield SystemCommand(f"Theme {theme.name}", f"Colours: {MEANINGS[theme.name]}", _theme_setter(app, theme.name))
    yield SystemCommand(
        "Screenshot", "Save the screen as an SVG picture", lambda: app.set_timer(0.1, app.deliver_screenshot)
    )


def entry_name(binding: Binding) -> str:
    """What the palette calls a binding; its id tells those of one name apart."""
    return (binding.id or binding.action).replace("_", " ").capitalize()


def _runner(screen: Screen[Any], action: str) -> Any:
    return lambda: screen.call_later(screen.run_action, action)


def _theme_setter(app: App[Any], name: str) -> Any:
    return lambda: setattr(app, "theme", name)
