"""What the keys do to the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from photon_triage.tui.screens.triage import TriageScreen
from photon_triage.tui.widgets.halfblock import Look


class Looking(TriageScreen):
    """The actions on the picture."""

    def action_zoom(self) -> None:
        """The picture over the whole width, and back."""
        self.toggle_class("-zoom")

    def _look(self, change: Callable[[Look], Look]) -> None:
        self._picture.change_look(change(self._picture.look))

    def action_contrast(self, step: int) -> None:
        """More or less contrast."""
        self._look(lambda look: look.contrast(step))

    def action_logarithm(self) -> None:
        """Logarithmic or linear."""
        self._look(lambda look: replace(look, log=not look.log))

    def action_colours(self) -> None:
        """The next colour map."""
        self._look(Look.next_colours)

    def action_overlay(self) -> None:
        """The next way to show a segmentation."""
        self._look(Look.next_overlay)

    def action_whole(self) -> None:
        """The whole frame or the region: the recipe's, or what is about the candidate."""
        self._look(lambda look: replace(look, whole=not look.whole))
