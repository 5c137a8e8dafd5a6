from __future__ import annotations

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Box
from photon_triage.core.prepare import Preparation, jet, preparation_for
from photon_triage.core.recipe import PrepareTable, Roi, load_recipe
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg

SEEDS = PrepareTable(roi=Roi(top=0, left=392, height=123, width=240), scale="log", fit="stretch")


def test_the_published_path_from_pattern_to_network() -> None:
    frames = torch.zeros(2, 512, 1024, dtype=torch.int16)
    frames[0, 60, 512] = 100
    image = Preparation(SEEDS, (416, 416), 3)(frames)
    assert image.shape == (2, 3, 416, 416)
    assert image[0].max() > 0.5 and not image[1].any()
    _, y, x = np.unravel_index(int(image[0].argmax()), (3, 416, 416))
    assert [int(y), int(x)] == pytest.approx([60.5 / 123 * 416, 120.5 / 240 * 416], abs=2)


def test_bad_pixels_gaps_and_nan_become_zero() -> None:
    frames = torch.tensor([[[-1.0, 5.0], [float("nan"), 7.0]]])
    valid = torch.tensor([[True, True], [True, False]])
    assert Preparation(PrepareTable(), (2, 2)).region(frames, valid).tolist() == [[[0, 5], [0, 0]]]
    bad = np.array([[0, 1], [0, 0]])
    assert Preparation(PrepareTable(), (2, 2), bad=bad).region(frames).tolist() == [[[0, 0], [0, 7]]]


def test_the_dark_frame_is_subtracted_and_nothing_goes_below_zero() -> None:
    preparation = Preparation(PrepareTable(), (1, 2), dark=np.array([[2.0, 9.0]]))
    assert preparation.region(torch.tensor([[[5.0, 5.0]]])).tolist() == [[[3, 0]]]


@pytest.mark.parametrize(("scale", "expected"), [("linear", 0.5), ("log", np.log1p(50) / np.log1p(100))])
def test_scales_map_full_scale_to_one(scale: str, expected: float) -> None:
    table = PrepareTable.model_validate({"scale": scale, "full_scale": 100})
    image = Preparation(table, (1, 3))(torch.tensor([[[50.0, 100.0, 400.0]]]))
    assert image.flatten().tolist() == pytest.approx([expected, 1, 1])


def test_without_full_scale_each_frame_has_its_own() -> None:
    frames = torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]]])
    image = Preparation(PrepareTable(scale="linear"), (1, 2))(frames)
    assert image.flatten().tolist() == pytest.approx([0.5, 1, 0.5, 1])


def test_jet_goes_from_blue_over_green_to_red() -> None:
    colours = jet(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])[None, None, None])[0, :, 0].T
    assert colours.tolist() == [[0, 0, 0.5], [0, 0.5, 1], [0.5, 1, 0.5], [1, 0.5, 0], [0.5, 0, 0]]


def test_jet_needs_three_channels() -> None:
    with pytest.raises(RecipeError, match="1 input channel"):
        Preparation(PrepareTable(colour="jet"), (8, 8), 1)


def test_letterbox_keeps_the_shape_and_fills_with_grey() -> None:
    image = Preparation(PrepareTable(fit="letterbox", scale="linear"), (8, 8))(torch.ones(1, 4, 8))
    assert image[0, 0, 0].tolist() == [0.5] * 8 and image[0, 0, 4].tolist() == [1.0] * 8


@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_boxes_go_to_the_frame_and_back(fit: str) -> None:
    table = PrepareTable.model_validate({"roi": SEEDS.roi, "fit": fit})
    preparation = Preparation(table, (96, 192))
    box = Box(400.0, 10.0, 60.0, 40.0)
    there = preparation.from_frame(box, (512, 1024))
    back = preparation.to_frame(there, (512, 1024))
    assert (back.x, back.y, back.width, back.height) == pytest.approx((400, 10, 60, 40))
    whole = preparation.from_frame(Box(392, 0, 240, 123), (512, 1024))
    if fit == "stretch":
        assert whole == pytest.approx((0.5, 0.5, 1, 1))
    else:
        assert max(whole[2:]) == pytest.approx(1) and min(whole[2:]) < 1


def test_a_mask_of_another_shape_is_told() -> None:
    with pytest.raises(RecipeError, match=r"mask of 3 x 3 pixels on frames of\s+2 x 2"):
        Preparation(PrepareTable(), (2, 2), bad=np.zeros((3, 3)))(torch.zeros(1, 2, 2))


def test_the_shipped_recipe_of_the_publication_feeds_the_published_network() -> None:
    recipe, network = load_recipe("spi-seeds"), Darknet.from_cfg(shipped_cfg("yolov2-seeds")).eval()
    preparation = preparation_for(recipe, network.input_size, network.in_channels)
    frames = torch.poisson(torch.full((1, 512, 1024), 0.2), generator=torch.Generator().manual_seed(0)).short()
    image = preparation(frames)
    assert image.shape == (1, 3, 416, 416) and float(image.min()) >= 0 and float(image.max()) <= 1
    with torch.no_grad():
        (raw,) = network(image)
    assert raw.shape == (1, 30, 13, 13) and bool(raw.isfinite().all())
