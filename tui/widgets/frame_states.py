"""How frames stand: the merged labels, what was saved here since, and what is on its way to the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rich.style import Style

from photon_triage.core.session.decisions.labels import Label
from photon_triage.tui.widgets.columns import SAVING, letter_of

STATE_COLOURS = {"A": "#3f8fc0", "X": "#c8641b", "S": "#9a8440"}
"""Blue, orange and ochre: told apart by who sees red and green alike, and on dark and light."""


def letter_style(letter: str) -> Style:
    """How a state's letter is written where there is colour."""
    return Style(color=STATE_COLOURS[letter], bold=True) if letter in STATE_COLOURS else Style()


class Standing:
    """The state of every frame, for all that shows frames; by the id that lists know them by."""

    def __init__(self) -> None:
        self._labels: Mapping[int, Label] = {}
        self._saved: dict[int, Label | None] = {}
        self._saving: set[int] = set()
        self._doubted: dict[int, Label | None] = {}
        self._flagged: frozenset[int] = frozenset()
        self._saved_flags: dict[int, bool] = {}
        self._conflicts: frozenset[int] = frozenset()
        self._changed: Mapping[int, Label] = {}
        self._listeners: list[Callable[[], object]] = []

    def on_change(self, listener: Callable[[], object]) -> None:
        """Call this whenever a frame may stand otherwise."""
        self._listeners.append(listener)

    def label(self, frame_id: int) -> Label | None:
        """The label of a frame as far as it is on disk."""
        for known in (self._saved, self._doubted):
            if frame_id in known:
                return known[frame_id]
        return self._labels.get(frame_id)

    def flagged(self, frame_id: int) -> bool:
        """Whether a frame carries a flag."""
        return self._saved_flags.get(frame_id, frame_id in self._flagged)

    def is_saving(self, frame_id: int) -> bool:
        """Whether a decision on the frame is on its way to the disk."""
        return frame_id in self._saving

    def is_open(self, frame_id: int) -> bool:
        """Whether nobody has decided on the frame."""
        return frame_id not in self._saving and self.label(frame_id) is None

    def letter(self, frame_id: int) -> str:
        """The state of a frame as a letter."""
        return SAVING if frame_id in self._saving else letter_of(self.label(frame_id), self._changed.get(frame_id))

    def sign(self, frame_id: int) -> str:
        """f where the frame is flagged, ≠ where operators disagree on it, c where it has changed since its label."""
        if self.flagged(frame_id):
            return "f"
        if frame_id in self._conflicts:
            return "≠"
        return "c" if frame_id in self._changed and self.is_open(frame_id) else " "

    def take(
        self,
        labels: Mapping[int, Label],
        flagged: frozenset[int],
        conflicts: frozenset[int],
        changed_frames: Mapping[int, Label],
        *,
        merged: bool,
    ) -> None:
        """Take the merged labels; `merged` says that they hold everything saved here, too.

        changed_frames: labels of frames that have changed since.
        """
        changed = self._labels is not labels or self._flagged is not flagged or self._changed is not changed_frames
        if merged and (self._saved or self._saved_flags):
            self._saved, self._saved_flags = {}, {}
            changed = True
        self._labels, self._flagged, self._conflicts = labels, flagged, conflicts
        self._changed = changed_frames
        if changed:
            self._tell()

    def show_saving(self, frames: Iterable[int], saving: bool) -> None:
        """Mark frames whose decision is being written."""
        (self._saving.update if saving else self._saving.difference_update)(frames)
        self._tell()

    def show_saved(self, labels: Mapping[int, Label | None]) -> None:
        """Show decisions that are on disk, before they come back with the merged labels."""
        self._saved |= labels
        self._tell()

    def show_unsaved(self, labels: Mapping[int, Label | None]) -> None:
        """Show the labels before a decision that failed: what of it is on disk is taken back with the next one."""
        self._doubted |= labels
        self._tell()

    def forget_unsaved(self) -> None:
        """The disk has answered: what failed before has been taken back there."""
        self._saved = self._doubted | self._saved
        self._doubted = {}

    def show_flags(self, flags: Mapping[int, bool]) -> None:
        """Show flags that are on disk, before they come back with the merged labels."""
        self._saved_flags |= flags
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
