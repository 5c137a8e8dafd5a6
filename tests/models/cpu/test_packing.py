from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from photon_triage.models.cpu import onednn, winograd
from photon_triage.models.cpu.onednn import PackedConvolution
from photon_triage.models.cpu.winograd import WinogradConvolution, pack_convolutions
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.layers import Convolution

from ..builders import convolution, with_random_weights

WIDE = (
    "[net]\nwidth=18\nheight=18\nchannels=3\n"
    + convolution(128, 1, activation="mish")
    + convolution(256)
    + "[maxpool]\nsize=2\nstride=2\n"
    + convolution(128, 1, activation="relu")
    + convolution(256, activation="logistic")
    + convolution(6, 1, normalize=False, activation="linear")
    + "[region]\nanchors=1,1\nbias_match=1\nclasses=1\ncoords=4\nnum=1\n"
)
"""Convolutions that Winograd's method takes in both of its forms, and others."""


def packed(network: Darknet) -> Darknet:
    twin = network.fused().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pack_convolutions(twin)
    assert isinstance(twin, Darknet)
    return twin


def relative_error(found: torch.Tensor, exact: torch.Tensor) -> float:
    return float((found.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("shape", [(1, 3, 18, 18), (3, 3, 18, 18), (2, 3, 36, 20)])
def test_packed_network_has_the_same_heads(shape: tuple[int, ...]) -> None:
    network = with_random_weights(Darknet.from_cfg(WIDE))
    fast = packed(network)
    frames = torch.rand(shape)
    with torch.inference_mode():
        found = fast(frames)
        (exact,) = network.double()(frames.double())
    assert relative_error(found[0], exact) < 1e-5


def test_packed_network_takes_frames_of_another_size_afterwards() -> None:
    network = with_random_weights(Darknet.from_cfg(WIDE))
    fast = packed(network)
    with torch.inference_mode():
        fast(torch.rand(1, 3, 18, 18))
        frames = torch.rand(2, 3, 40, 66)
        found = fast(frames)
        (exact,) = network.double()(frames.double())
    assert relative_error(found[0], exact) < 1e-5


@pytest.mark.skipif(not onednn.is_available(), reason="this torch has no oneDNN")
def test_each_convolution_gets_the_form_that_suits_it() -> None:
    kinds = [type(layer) for layer in packed(Darknet.from_cfg(WIDE)).layers if "Convolution" in type(layer).__name__]
    assert kinds == [PackedConvolution, WinogradConvolution, PackedConvolution, WinogradConvolution, PackedConvolution]


def test_network_stays_as_it_is_where_torch_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "is_available", lambda: False)
    assert {type(layer) for layer in packed(Darknet.from_cfg(WIDE)).layers} >= {Convolution}


def test_changed_operator_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that takes other arguments, or computes something else, is not used."""
    assert onednn.is_available.__wrapped__() == torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    monkeypatch.setattr(PackedConvolution, "forward", lambda _, x: x.new_ones(1, 16, 5, 5))
    assert not onednn.is_available.__wrapped__()
    monkeypatch.setattr(PackedConvolution, "forward", lambda _, x: torch.ops.mkldnn.no_such_operator(x))
    assert not onednn.is_available.__wrapped__()


@pytest.mark.parametrize("tile", [2, 4])
def test_winograds_matrices_filter_a_line(tile: int) -> None:
    a, b, g = winograd.transforms(tile)
    line, taps = torch.randn(tile + 2, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    found = a.T @ ((g @ taps) * (b.T @ line))
    torch.testing.assert_close(found, line.unfold(0, 3, 1) @ taps)


@pytest.mark.parametrize(
    ("channels", "height", "width"), [(4, 13, 13), (4, 5, 9), (4, 26, 26), (4, 17, 30), (winograd.PAGE, 7, 6)]
)
def test_winograds_convolution_is_a_convolution(channels: int, height: int, width: int) -> None:
    weight, bias, x = torch.randn(7, channels, 3, 3), torch.randn(7), torch.randn(2, channels, height, width)
    fast = WinogradConvolution(weight, bias, torch.relu)
    with torch.inference_mode():
        found = fast(x)
    exact = torch.relu(functional.conv2d(x.double(), weight.double(), bias.double(), padding=1))
    assert relative_error(found, exact) < 1e-5
    assert fast.tile == (4 if min(height, width) >= 16 else 2)
