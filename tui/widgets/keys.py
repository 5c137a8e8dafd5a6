"""The footer of keys, the order in which it keeps them, and the classes that keys give."""

from __future__ import annotations

from collections.abc import Iterable

from textual.binding import Binding
from textual.content import Content

from photon_triage.tui.terminal.text import cells
from photon_triage.tui.widgets.pane import Line

CLASSES = ("single", "multiple", "water", "streak", "aggregate", "ice", "artefact", "background", "other")
"""What the keys 1 to 9 say of a frame."""
ACCEPTED_CLASS = "single"
"""The one class that accepts a frame; every other one rejects it."""

PALETTE = Binding(
    "ctrl+p",
    "app.command_palette",
    "Palette",
    id="palette",
    tooltip="Every action by its name, themes, screenshot",
    key_display="^p",
)
FOOTER_ORDER = (
    "threshold_keep",
    "threshold_drop",
    "accept",
    "reject",
    "skip",
    "undo",
    "tail",
    "filter",
    "help",
    "palette",
    "quit",
    "class_1",
    "class_2",
    "class_3",
    "class_4",
    "class_5",
    "class_6",
    "class_7",
    "class_8",
    "class_9",
    "sheet",
    "class_clear",
    "flag",
    "next",
    "previous",
    "zoom",
    "sort",
    "threshold_down",
    "threshold_up",
    "draw",
    "export",
    "copy",
    "pause",
    "pane",
    "mark",
    "redo",
    "repeat",
    "training",
    "runs",
    "files",
    "powder",
    "axis",
    "down",
    "up",
    "top",
    "bottom",
    "right",
    "left",
    "neighbour_next",
    "neighbour_previous",
    "page_down",
    "page_up",
    "contrast_up",
    "contrast_down",
    "log",
    "colours",
    "overlay",
    "rings",
    "radial",
    "whole",
)
"""Ids of keys in the order in which a narrow footer keeps them; the palette and the help follow it, too."""
_PLACES = {key: place for place, key in enumerate(FOOTER_ORDER)}


def in_footer_order(keys: Iterable[Binding]) -> list[Binding]:
    """Sort keys as a narrow footer keeps them; those that FOOTER_ORDER does not name come last."""
    return sorted(keys, key=lambda key: _place(key.id))


def _place(key: str | None) -> int:
    return _PLACES.get(key or "", len(_PLACES))


class KeyFooter(Line):
    """One line of keys; what was remapped shows its new key."""

    def on_mount(self) -> None:
        """Follow what can be done."""
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.redraw())
        self.call_after_refresh(self.redraw)

    def on_resize(self) -> None:
        """Fit the line to the width."""
        self.redraw()

    def redraw(self) -> None:
        """Write the line anew."""
        keys: dict[str, tuple[list[str], str]] = {}
        found = [active for active in self.screen.active_bindings.values() if active.enabled]
        # What the application has for every screen comes last.
        found.sort(key=lambda active: (active.node is not self.screen, _place(active.binding.id)))
        for binding in (active.binding for active in found):
            if binding.show and not binding.system:
                shown, _ = keys.setdefault(binding.action, ([], binding.description))
                shown.append(self.app.get_key_display(binding))
        width, used = self.size.width, 1
        parts = [Content(" ")]
        for shown, description in keys.values():
            needed = cells(shown[0]) + cells(description) + 3
            if used + needed <= width:
                used += needed
                parts += [Content.styled(shown[0], "bold $text-accent"), Content(f" {description}  ")]
        self.put(Content("").join(parts))
