"""The cascade: cheap tests first, so that the network sees only what they pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from photon_triage.core.frames import Batch
from photon_triage.core.stages.stage import Found, Stage


@dataclass
class Outcome:
    """What the stages said of one frame: how many it passed, its score and what was measured on the way."""

    passed: int = 0
    score: float | None = None
    measures: dict[str, float] = field(default_factory=dict)
    detections: tuple[Found, ...] = ()

    @property
    def hit(self) -> bool:
        """Whether it passed hit finding, the first stage."""
        return self.passed > 0


@torch.inference_mode()
def run_cascade(stages: Sequence[Stage], batch: Batch) -> list[Outcome]:
    """What the stages say of each frame of a batch; each stage sees what the ones before it have passed."""
    outcomes = [Outcome() for _ in range(len(batch))]
    alive = list(range(len(batch)))
    for stage in stages:
        if not alive:
            break
        result = stage(batch)
        columns = {name: values.tolist() for name, values in result.columns.items()}
        scores = None if result.score is None else result.score.tolist()
        for place, frame in enumerate(alive):
            outcome = outcomes[frame]
            outcome.measures.update((name, _rounded(values[place])) for name, values in columns.items())
            if scores is not None:
                outcome.score = scores[place]
            if result.detections is not None:
                outcome.detections = result.detections[place]
        survivors = result.passed.tolist()
        alive = [frame for frame, passed in zip(alive, survivors, strict=True) if passed]
        for frame in alive:
            outcomes[frame].passed += 1
        batch = batch.select(result.passed.to(batch.frames.device))
    return outcomes


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
