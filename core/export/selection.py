"""Which frames of a session a list holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.rows import FrameRow

Select = Literal["accepted", "predicted", "both", "all"]
SELECTS: tuple[Select, ...] = get_args(Select)


@dataclass(frozen=True, slots=True)
class Selection:
    """A rule that says of a frame whether it is selected.

    "accepted": the operator accepted it. "predicted": its score is at least the threshold, whatever the operator said.
    "both": the operator accepted it, or its score is at least the threshold and the operator did not reject it.
    "all": every frame that was read. only: of these, the frames and candidates that a list from elsewhere holds.
    """

    select: Select
    threshold: float
    only: frozenset[FrameKey] | None = None

    def holds(self, frame: FrameRow, label: Label | None) -> bool:
        """Whether a frame with this label is selected."""
        if self.only is not None and frame.key not in self.only and frame.key.frame not in self.only:
            return False
        if self.select == "all":
            return True
        if self.select == "accepted":
            return label is not None and label.verdict == "accepted"
        if self.select == "predicted":
            return self._predicts(frame)
        return self.chooses(frame, label)

    def chooses(self, frame: FrameRow, label: Label | None) -> bool:
        """Whether it is accepted, or reaches the threshold and is not rejected: what tells the rows of "all" apart."""
        verdict = None if label is None else label.verdict
        return verdict == "accepted" or (self._predicts(frame) and verdict != "rejected")

    def _predicts(self, frame: FrameRow) -> bool:
        return frame.score is not None and frame.score >= self.threshold
