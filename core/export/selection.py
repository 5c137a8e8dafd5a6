"""Which frames of a session a list holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from photon_triage.core.session.labels import Label
from photon_triage.core.session.rows import FrameRow

Select = Literal["accepted", "predicted", "both", "all"]
SELECTS: tuple[str, ...] = get_args(Select)


@dataclass(frozen=True, slots=True)
class Selection:
    """A rule that says of a frame whether it is selected.

    "accepted": the operator accepted it. "predicted": its score is at least the threshold, whatever the operator said.
    "both": the operator accepted it, or its score is at least the threshold and the operator did not reject it.
    "all": every frame that was read.
    """

    select: Select
    threshold: float

    def holds(self, frame: FrameRow, label: Label | None) -> bool:
        """Whether a frame with this label is selected."""
        verdict = None if label is None else label.verdict
        predicted = frame.score is not None and frame.score >= self.threshold
        if self.select == "all":
            return True
        if self.select == "accepted":
            return verdict == "accepted"
        if self.select == "predicted":
            return predicted
        return verdict == "accepted" or (predicted and verdict != "rejected")
