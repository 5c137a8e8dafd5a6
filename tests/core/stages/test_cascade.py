from __future__ import annotations

import torch

from photon_triage.core.frames import Batch, Box, FrameKey, Geometry
from photon_triage.core.recipe import LitPixelsStage
from photon_triage.core.stages.cascade import Found, StageResult, run_cascade
from photon_triage.core.stages.spots import LitPixels


class Above:
    """Passes frames whose first pixel is above a limit, and remembers what it was shown."""

    name = "above"
    columns = ("first",)
    is_network = False

    def __init__(self, limit: float, *, scores: bool = False) -> None:
        self.limit, self.scores = limit, scores
        self.shown: list[int] = []

    def __call__(self, batch: Batch) -> StageResult:
        self.shown = [key.index for key in batch.keys]
        first = batch.frames[:, 0, 0]
        boxes = tuple((Found("single", float(value), Box(0, 0, 1, 1)),) for value in first)
        return StageResult(
            first > self.limit,
            {f"above_{self.limit:g}": first},
            first / 10 if self.scores else None,
            boxes if self.scores else None,
        )


def run(*stages: Above) -> list[tuple[int, bool, float | None]]:
    frames = torch.arange(5.0)[:, None, None].expand(5, 2, 2)
    batch = Batch(tuple(FrameKey("f", "", index) for index in range(5)), frames, None, Geometry())
    return [(outcome.passed, outcome.hit, outcome.score) for outcome in run_cascade(stages, batch)]


def test_each_stage_sees_what_the_ones_before_passed() -> None:
    first, second = Above(0.5), Above(2.5, scores=True)
    found = run(first, second)
    assert first.shown == [0, 1, 2, 3, 4] and second.shown == [1, 2, 3, 4]
    assert [passed for passed, _, _ in found] == [0, 1, 1, 2, 2]
    assert [hit for _, hit, _ in found] == [False, True, True, True, True]
    assert [None if score is None else round(score, 3) for _, _, score in found] == [None, 0.1, 0.2, 0.3, 0.4]


def test_a_stage_after_which_nothing_is_left_ends_the_cascade() -> None:
    last = Above(1.0)
    assert [passed for passed, _, _ in run(Above(9.0), last)] == [0] * 5
    assert last.shown == []


def test_counts_are_told_to_the_last_pixel() -> None:
    frames = torch.full((1, 1200, 1000), 21.0)
    frames[0, 0, 0] = 20.0
    batch = Batch((FrameKey("f", "", 0),), frames, None, Geometry())

    (outcome,) = run_cascade([LitPixels(LitPixelsStage(kind="lit-pixels"))], batch)

    assert outcome.measures == {"lit_pixels": 1_200_000, "photons": 25_199_999}
