"""The keys that matter here, as many as fit."""

from __future__ import annotations

from textual.content import Content

from photon_triage.tui.terminal.text import cells
from photon_triage.tui.widgets.keys import KEYS
from photon_triage.tui.widgets.pane import Line


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
        order = {binding.id: place for place, binding in enumerate(KEYS)}
        found = [active for active in self.screen.active_bindings.values() if active.enabled]
        # What the application has for every screen comes last.
        found.sort(key=lambda active: (active.node is not self.screen, order.get(active.binding.id, len(order))))
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
