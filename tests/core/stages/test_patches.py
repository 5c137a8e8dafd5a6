from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.recipe import PatchesStage, Roi
from photon_triage.core.stages.patches import Patches
from photon_triage.models.common.classes import Normalisation
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.patch_finder import PatchFinder, log_odds

CPU = torch.device("cpu")
GREY = Normalisation(0.0, 1.0)


def finder() -> PatchFinder:
    torch.manual_seed(5)
    network = LeNetPatch(patch=16, widths=(3, 4), kernels=(3, 3), hidden=(8,))
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, 0, 0.4)
    return PatchFinder(network.eval(), ("other", "particle"), GREY)


@torch.no_grad()
def probability(finder: PatchFinder, patch: Tensor) -> float:
    return float(torch.sigmoid(log_odds(finder.network(patch))))


def batch_of(frames: Tensor, **changes: object) -> Batch:
    keys = tuple(FrameKey("f", "", index) for index in range(len(frames)))
    return Batch(keys, frames, None, Geometry(), **changes)  # type: ignore[arg-type]


def some_frames(count: int = 2) -> Tensor:
    return torch.randn((count, 48, 60), generator=torch.Generator().manual_seed(1))


def table(**changes: object) -> PatchesStage:
    values = {"kind": "patches", "model": "m", "listed_from": 0.2, "min_distance": 6}
    return PatchesStage.model_validate(values | changes)


def test_a_candidates_score_is_that_of_the_patch_about_it() -> None:
    wanted, frames = finder(), some_frames()
    result = Patches(table(), wanted, CPU)(batch_of(frames))
    assert result.candidates is not None and all(result.candidates)
    half = 8
    for frame, found in zip(frames, result.candidates, strict=True):
        for each in found:
            if half <= each.x < 60 - half and half <= each.y < 48 - half:
                patch = frame[None, None, each.y - half : each.y + half, each.x - half : each.x + half]
                assert each.score == pytest.approx(probability(wanted, patch), abs=1e-5)


def test_a_frame_passes_with_a_candidate_over_the_threshold() -> None:
    result = Patches(table(), finder(), CPU)(batch_of(some_frames()))
    assert result.candidates is not None and result.score is not None
    best = [max(each.score for each in found) for found in result.candidates]
    assert result.score.tolist() == pytest.approx(best)
    threshold = sum(sorted(best)) / 2
    again = Patches(table(threshold=threshold), finder(), CPU)(batch_of(some_frames()))
    assert again.passed.tolist() == [score >= threshold for score in best]
    assert again.columns["candidates"].tolist() == [
        sum(each.score >= threshold for each in found) for found in result.candidates
    ]


def test_the_search_keeps_to_the_class_and_its_margin() -> None:
    frames = some_frames()
    classes = torch.zeros(2, 48, 60, dtype=torch.uint8)
    classes[:, :, 10:15] = 1
    batch = batch_of(frames, classes=classes, class_names=("background", "membrane"))
    found = Patches(table(within="membrane", margin=4), finder(), CPU)(batch).candidates
    assert found is not None and any(found)
    assert {each.x for some in found for each in some} <= set(range(6, 19))


def test_scores_within_a_class_are_those_of_the_whole_search() -> None:
    frames = some_frames(1)
    everywhere = Patches(table(min_distance=1), finder(), CPU)(batch_of(frames)).candidates
    classes = torch.ones(1, 48, 60, dtype=torch.uint8)
    batch = batch_of(frames, classes=classes, class_names=("background", "membrane"))
    within = Patches(table(min_distance=1, within="membrane"), finder(), CPU)(batch).candidates
    assert everywhere and everywhere == within


def test_a_class_that_the_segmentation_lacks_is_named() -> None:
    batch = batch_of(some_frames(), classes=torch.zeros(2, 48, 60, dtype=torch.uint8), class_names=("void", "wall"))
    with pytest.raises(RecipeError, match="'membrane': the segmentation's classes are void, wall"):
        Patches(table(within="membrane"), finder(), CPU)(batch)


def test_candidates_of_a_region_are_in_pixels_of_the_frame() -> None:
    frames = some_frames(1)
    roi = Roi(top=4, left=9, height=40, width=44)
    region = Patches(table(), finder(), CPU, roi)(batch_of(frames)).candidates
    alone = Patches(table(), finder(), CPU)(batch_of(frames[:, 4:44, 9:53])).candidates
    assert region and alone
    assert [(each.x - 9, each.y - 4) for each in region[0]] == [(each.x, each.y) for each in alone[0]]


def test_images_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(RecipeError, match="patches of 16"):
        Patches(table(), finder(), CPU)(batch_of(some_frames()[:, :8, :8]))
