from __future__ import annotations

import pytest
import torch
from torch import Tensor

from photon_triage.core.common.errors import RecipeError
from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.recipe import LitPixelsStage, Roi, SpotsStage
from photon_triage.core.stages.spots import LitPixels, Spots, count_spots, window_sum

CENTER = Geometry(beam_center_x=20.0, beam_center_y=0.0)


def batch_of(frames: Tensor, valid: Tensor | None = None, geometry: Geometry = CENTER) -> Batch:
    return Batch(tuple(FrameKey("f", "", index) for index in range(len(frames))), frames, valid, geometry)


def test_lit_pixels_and_photons_are_counted_in_the_region() -> None:
    frames = torch.zeros(2, 30, 40)
    frames[0, 5, 5], frames[0, 6, 6], frames[0, 25, 5] = 3, 1, 100
    stage = LitPixels(LitPixelsStage(kind="lit-pixels", min_photons=4), Roi(top=0, left=0, height=20, width=40))
    result = stage(batch_of(frames))
    assert result.columns["lit_pixels"].tolist() == [2, 0] and result.columns["photons"].tolist() == [4, 0]
    assert result.passed.tolist() == [True, False]


def test_masked_and_negative_pixels_count_nothing() -> None:
    frames = torch.zeros(1, 30, 40)
    frames[0, 0, 0], frames[0, 1, 1], frames[0, 2, 2] = -1, 50, 2
    valid = torch.ones(30, 40, dtype=torch.bool)
    valid[1, 1] = False
    result = LitPixels(LitPixelsStage(kind="lit-pixels"))(batch_of(frames, valid))
    assert result.columns["photons"].tolist() == [2] and result.columns["lit_pixels"].tolist() == [1]


def test_excess_is_above_the_frames_own_background() -> None:
    frames = torch.full((2, 30, 40), 0.5)
    frames[0, :5, 18:23] += 10
    stage = LitPixels(LitPixelsStage(kind="lit-pixels", signal_radius=8, min_excess_photons=100))
    result = stage(batch_of(frames))
    assert result.columns["excess_photons"].tolist() == pytest.approx([250, 0], abs=1e-3)
    assert result.passed.tolist() == [True, False]


def test_excess_needs_to_know_the_beam() -> None:
    stage = LitPixels(LitPixelsStage(kind="lit-pixels", signal_radius=8))
    with pytest.raises(RecipeError, match="beam centre"):
        stage(batch_of(torch.zeros(1, 30, 40), geometry=Geometry()))


def test_a_region_outside_the_frame_is_told() -> None:
    stage = LitPixels(LitPixelsStage(kind="lit-pixels"), Roi(top=0, left=30, height=10, width=20))
    with pytest.raises(RecipeError, match=r"columns 30\.\.50 out of frames of 30 x 40"):
        stage(batch_of(torch.zeros(1, 30, 40)))


@pytest.mark.parametrize("side", [3, 5, 7, 11, 15])
def test_window_sums_equal_a_plain_convolution(side: int) -> None:
    image = torch.randint(0, 50, (33, 47)).float()
    plain = torch.nn.functional.conv2d(image[None, None], torch.ones(1, 1, side, side), padding=side // 2)[0, 0]
    assert torch.equal(window_sum(image, side), plain)


def test_a_spot_counts_once_however_many_pixels_it_has() -> None:
    shining = torch.zeros(20, 20)
    shining[3:6, 3:6] = torch.tensor([[1.0, 2, 1], [2, 9, 2], [1, 2, 1]])
    shining[10, 10:13] = 5.0
    shining[15, 15] = 7.0
    assert int(count_spots(shining, 1)) == 3
    assert int(count_spots(shining, 3)) == 1


def crystal(spots: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    frame = torch.poisson(torch.full((200, 220), 2.0), generator=generator)
    for place in range(spots):
        y, x = 15 + 20 * (place // 8), 15 + 25 * (place % 8)
        frame[y : y + 2, x : x + 2] += torch.tensor([[40.0, 25.0], [20.0, 15.0]])
    return frame


def test_spots_are_counted_above_the_local_background() -> None:
    frames = torch.stack([crystal(0), crystal(20)])
    frames += torch.linspace(0, 30, 220).round()
    result = Spots(SpotsStage(kind="spots", min_spots=10))(batch_of(frames))
    found = result.columns["spots"].tolist()
    assert found[0] <= 3 and found[1] == pytest.approx(20, abs=3)
    assert result.passed.tolist() == [False, True]
    assert result.score is not None and result.score[0] < 0.5 < result.score[1]


def test_the_score_is_one_half_at_the_threshold() -> None:
    stage = Spots(SpotsStage(kind="spots", min_spots=20, min_snr=5))
    result = stage(batch_of(crystal(20)[None]))
    assert result.columns["spots"].tolist() == [20] and result.score is not None and float(result.score[0]) == 0.5


def test_gaps_make_no_spots() -> None:
    frame = crystal(0)
    frame[:, 100:110] = -1
    frame[50:60] = -2
    assert float(Spots(SpotsStage(kind="spots"))(batch_of(frame[None])).columns["spots"]) <= 3
