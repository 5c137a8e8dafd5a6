"""The cascade: cheap tests first, so that the network sees only what they pass."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import TriageError
from photon_triage.core.frames import Batch
from photon_triage.core.stages.stage import Found, Stage, UnusableFrameError
from photon_triage.core.stages.threads import few_threads


@dataclass
class Outcome:
    """What the stages said of one frame: how many it passed, its score, and what was measured and found on the way.

    classes: (rows, columns) uint8 of the region of interest, each pixel's place among `class_names`.
    """

    passed: int = 0
    score: float | None = None
    measures: dict[str, float] = field(default_factory=dict)
    detections: tuple[Found, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    classes: NDArray[np.uint8] | None = None
    class_names: tuple[str, ...] = ()

    @property
    def hit(self) -> bool:
        """Whether it passed hit finding, the first stage."""
        return self.passed > 0


class StageFailure(Exception):
    """A defect or a limit met inside a stage: its name and the cause; a TriageError passes as it is."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(f"The stage {stage} failed: {cause}")
        self.stage, self.cause = stage, cause


@torch.inference_mode()
def run_cascade(stages: Sequence[Stage], batch: Batch) -> list[Outcome]:
    """The result of the stages for each frame of a batch; each stage sees what the ones before it have passed.

    Raises StageFailure where a stage fails, and TriageError where the recipe does not fit the frames.
    """
    outcomes = [Outcome() for _ in range(len(batch))]
    alive = list(range(len(batch)))
    for stage in stages:
        if not alive:
            break
        try:
            with nullcontext() if stage.is_network else few_threads(batch.frames.numel()):
                result = stage(batch)
        except TriageError:
            raise
        except Exception as error:
            raise StageFailure(stage.name, error) from error
        if result.classes is not None:
            batch = replace(batch, classes=result.classes, class_names=result.class_names)
        classes: Any = [None] * len(alive) if result.classes is None else result.classes.cpu().numpy()
        columns = {name: values.tolist() for name, values in result.columns.items()}
        scores = None if result.score is None else result.score.tolist()
        for place, frame in enumerate(alive):
            outcome = outcomes[frame]
            outcome.measures.update((name, _rounded(values[place])) for name, values in columns.items())
            if scores is not None:
                outcome.score = scores[place]
            if result.detections is not None:
                outcome.detections = result.detections[place]
            if result.candidates is not None:
                outcome.candidates = result.candidates[place]
            if classes[place] is not None:
                outcome.classes, outcome.class_names = classes[place], result.class_names
        survivors = result.passed.tolist()
        alive = [frame for frame, passed in zip(alive, survivors, strict=True) if passed]
        for frame in alive:
            outcomes[frame].passed += 1
        with few_threads(batch.frames.numel()):
            batch = batch.select(result.passed.to(batch.frames.device))
    return outcomes


def run_on_usable(stages: Sequence[Stage], batch: Batch) -> list[Outcome | None]:
    """The same, with None for a frame without a usable pixel, which costs the others nothing."""
    try:
        return [*run_cascade(stages, batch)]
    except StageFailure as error:
        if not isinstance(error.cause, UnusableFrameError):
            raise
    if len(batch) == 1:
        return [None]
    places = torch.arange(len(batch), device=batch.frames.device)
    return [run_on_usable(stages, batch.select(places == place))[0] for place in range(len(batch))]


def _rounded(value: float) -> float:
    """Counts as they are, other numbers to what single precision holds."""
    return value if value.is_integer() else float(f"{value:.7g}")
