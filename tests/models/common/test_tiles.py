from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.tiles import mirrored, overlap_tiles, run_in_tiles


def stack(padding_mode: Literal["zeros", "reflect"], dilations: tuple[int, ...], padded: bool = True) -> nn.Sequential:
    """Plain 3x3 convolutions in double precision; the receptive field's radius is the sum of the dilations."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for index, dilation in enumerate(dilations):
        channels = 1 if index == 0 else 3
        padding = dilation if padded else 0
        layers += [nn.Conv2d(channels, 3, 3, padding=padding, dilation=dilation, padding_mode=padding_mode), nn.ReLU()]
    return nn.Sequential(*layers).double().requires_grad_(False)


def pooled(frames: Tensor) -> Tensor:
    """A network whose output depends on where its 4x4 pools begin."""
    return functional.interpolate(functional.max_pool2d(frames, 4), scale_factor=4.0)


@settings(max_examples=25)
@given(st.integers(7, 40), st.integers(7, 40), st.integers(1, 45), st.sampled_from(["zeros", "reflect"]))
def test_tiles_equal_the_whole_frame(
    height: int, width: int, tile: int, padding_mode: Literal["zeros", "reflect"]
) -> None:
    network = stack(padding_mode, (1, 2, 3))
    frames = torch.rand(2, 1, height, width, dtype=torch.float64)
    found = run_in_tiles(network, frames, tile, halo=6)
    torch.testing.assert_close(found, network(frames), rtol=0, atol=1e-12)


def test_too_small_a_halo_shows() -> None:
    network = stack("zeros", (1, 2, 3))
    frames = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    difference = run_in_tiles(network, frames, 8, halo=2) - network(frames)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize(("tile", "halo"), [(5, 0), (6, 3), (8, 1), (7, 5)])
def test_windows_keep_to_the_grid_of_the_pools(tile: int, halo: int) -> None:
    frames = torch.rand(1, 2, 24, 32)
    assert torch.equal(run_in_tiles(pooled, frames, tile, halo, multiple=4), pooled(frames))


def test_windows_are_bounded_and_clipped() -> None:
    seen: list[tuple[int, int]] = []

    def network(window: Tensor) -> Tensor:
        seen.append((window.shape[-2], window.shape[-1]))
        return window

    frames = torch.rand(1, 1, 50, 21)
    assert torch.equal(run_in_tiles(network, frames, 16, halo=3), frames)
    assert seen == [(19, 19), (19, 8), (22, 19), (22, 8), (21, 19), (21, 8), (5, 19), (5, 8)]


def test_output_may_have_another_kind_and_number_of_channels() -> None:
    frames = torch.rand(2, 3, 9, 9)
    found = run_in_tiles(lambda window: window.argmax(1, keepdim=True), frames, 4, halo=0)
    assert torch.equal(found, frames.argmax(1, keepdim=True))


def test_gradients_pass() -> None:
    network = stack("zeros", (1, 1))
    frames = torch.rand(1, 1, 10, 12, dtype=torch.float64, requires_grad=True)
    (whole,) = torch.autograd.grad(network(frames).square().sum(), frames)
    (tiled,) = torch.autograd.grad(run_in_tiles(network, frames, 4, halo=2).square().sum(), frames)
    torch.testing.assert_close(tiled, whole)


@settings(max_examples=25)
@given(st.integers(1, 30), st.integers(2, 30), st.integers(1, 35))
def test_overlap_tiles_equal_a_mirrored_frame(height: int, width: int, tile: int) -> None:
    network = stack("zeros", (1, 2), padded=False)
    frames = torch.rand(2, 1, height, width, dtype=torch.float64)
    rows, columns = (mirrored(torch.arange(-3, extent + 3), extent) for extent in (height, width))
    whole = network(frames[:, :, rows][:, :, :, columns])
    torch.testing.assert_close(overlap_tiles(network, frames, tile, margin=3), whole, rtol=0, atol=1e-12)


def test_overlap_tiles_keep_to_the_grid_of_the_pools() -> None:
    frames = torch.rand(1, 1, 16, 24)

    def network(window: Tensor) -> Tensor:
        return pooled(window)[..., 4:-4, 4:-4]

    assert torch.equal(overlap_tiles(network, frames, 8, 4, multiple=4), pooled(frames))


def test_mirror_repeats_no_end_pixel() -> None:
    assert mirrored(torch.arange(-4, 7), 3).tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    reference = functional.pad(torch.arange(5.0).reshape(1, 1, 5), (4, 4), mode="reflect").flatten()
    assert torch.equal(mirrored(torch.arange(-4, 9), 5).float(), reference)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 0}, "with tile 0"),
        ({"halo": -1}, "with halo -1"),
        ({"multiple": 0}, "with multiple 0"),
        ({"frames": torch.zeros(3, 8, 8)}, r"shape \(3, 8, 8\)"),
        ({"frames": torch.zeros(1, 1, 0, 8)}, r"shape \(1, 1, 0, 8\)"),
        ({"network": lambda window: window[..., 1:-1, 1:-1]}, r"made \(1, 1, 4, 4\) of \(1, 1, 6, 6\)"),
    ],
)
def test_bad_arguments_are_told(arguments: dict[str, object], message: str) -> None:
    complete = {"network": nn.Identity(), "frames": torch.zeros(1, 1, 8, 8), "tile": 4, "halo": 2, **arguments}
    with pytest.raises(ModelError, match=message):
        run_in_tiles(**complete)  # type: ignore[arg-type]


def test_overlap_tile_below_the_step_is_told() -> None:
    with pytest.raises(ModelError, match="tile by 4 pixels in steps of 16"):
        overlap_tiles(nn.Identity(), torch.zeros(1, 1, 32, 32), 4, 2, multiple=16)
    with pytest.raises(ModelError, match="Expected 8 rows"):
        overlap_tiles(nn.Identity(), torch.zeros(1, 1, 32, 32), 8, 2)
    with pytest.raises(ModelError, match="with margin -1"):
        overlap_tiles(nn.Identity(), torch.zeros(1, 1, 32, 32), 8, -1)
