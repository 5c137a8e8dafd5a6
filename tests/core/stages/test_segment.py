from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.recipe import Roi, SegmentStage
from photon_triage.core.stages.segment import Segment
from photon_triage.models.common.classes import Normalisation
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.segmenter import Segmenter
from photon_triage.models.nets.unet import UNet

CPU = torch.device("cpu")


def segmenter(classes: tuple[str, ...] = ("background", "membrane"), **options: int) -> Segmenter:
    torch.manual_seed(3)
    network = MSDNet(depth=4, out_channels=len(classes), dilations=(1, 2), **options)
    _with_random_weights(network)
    return Segmenter(network, classes)


def _with_random_weights(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)


def batch_of(frames: Tensor, valid: Tensor | None = None) -> Batch:
    return Batch(tuple(FrameKey("f", "", index) for index in range(len(frames))), frames, valid, Geometry())


def some_frames(count: int = 3) -> Tensor:
    return torch.randn((count, 40, 50), generator=torch.Generator().manual_seed(1)) * 20 + 100


def table(**changes: object) -> SegmentStage:
    return SegmentStage.model_validate({"kind": "segment", "model": "m"} | changes)


def test_every_pixel_has_the_likeliest_class() -> None:
    wanted = segmenter()
    frames = some_frames()
    result = Segment(table(), wanted, CPU)(batch_of(frames))
    with torch.no_grad():
        logits = wanted.network(Normalisation()(frames)[:, None])
    assert result.classes is not None and result.class_names == ("background", "membrane")
    assert (result.classes == logits.argmax(1)).float().mean() > 0.999
    torch.testing.assert_close(result.columns["certainty"], torch.softmax(logits, 1).amax(1).mean((1, 2)))
    assert result.score is result.columns["certainty"]


def test_frames_with_too_little_foreground_do_not_pass() -> None:
    frames = some_frames()
    shares = Segment(table(), segmenter(), CPU)(batch_of(frames)).columns["foreground"]
    limit = float(shares.sort().values[1])
    result = Segment(table(min_foreground=limit), segmenter(), CPU)(batch_of(frames))
    assert torch.equal(result.passed, shares >= limit) and result.passed.sum() == 2


def test_bad_pixels_are_background_and_do_not_move_the_rest() -> None:
    frames = some_frames(1)
    valid = torch.ones((40, 50), dtype=torch.bool)
    valid[:10] = False
    holes = frames.clone()
    holes[:, :10] = 1e9
    frames[:, :10] = float("nan")
    first = Segment(table(), segmenter(), CPU)(batch_of(frames))
    second = Segment(table(), segmenter(), CPU)(batch_of(holes, valid))
    assert first.classes is not None and second.classes is not None
    assert torch.equal(first.classes, second.classes) and not first.classes[:, :10].any()


def test_a_region_of_interest_is_segmented_alone() -> None:
    frames = some_frames(1)
    roi = Roi(top=5, left=10, height=20, width=30)
    region = Segment(table(), segmenter(), CPU, roi)(batch_of(frames))
    alone = Segment(table(), segmenter(), CPU)(batch_of(frames[:, 5:25, 10:40]))
    assert region.classes is not None and alone.classes is not None
    assert torch.equal(region.classes, alone.classes)


def test_tiles_give_the_same_classes() -> None:
    torch.manual_seed(1)
    frames = torch.randn(1, 200, 230)
    whole = Segment(table(), segmenter(), CPU)(batch_of(frames))
    tiles = Segment(table(tile=64), segmenter(), CPU)(batch_of(frames))
    assert whole.classes is not None and tiles.classes is not None
    assert (whole.classes == tiles.classes).float().mean() > 0.999


def test_a_unet_segments_too() -> None:
    torch.manual_seed(1)
    wanted = Segmenter(UNet(depth=2, width=4), ("background", "membrane"))
    result = Segment(table(), wanted, CPU)(batch_of(some_frames(2)))
    assert result.classes is not None and result.classes.shape == (2, 40, 50)


def test_slabs_are_refused() -> None:
    with pytest.raises(RecipeError, match="it takes 3 neighbouring slices"):
        Segment(table(), segmenter(in_channels=3), CPU)
