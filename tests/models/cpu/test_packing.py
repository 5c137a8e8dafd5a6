from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from photon_triage.models.common.errors import note_once
from photon_triage.models.cpu import onednn, packing, winograd
from photon_triage.models.cpu.onednn import PackedConvolution
from photon_triage.models.cpu.packing import cpu_notices, pack_convolutions
from photon_triage.models.cpu.winograd import WinogradConvolution
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.inference.autotune import processor
from photon_triage.models.inference.precision import Network
from photon_triage.models.nets.unet import UNet

from ..builders import convolution, relative_error, with_random_weights

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


@pytest.mark.skipif(bool(packing.packing_refusal(torch.float32)), reason="convolutions are not packed here")
def test_each_convolution_gets_the_form_that_suits_it() -> None:
    kinds = [type(layer) for layer in packed(Darknet.from_cfg(WIDE)).layers if "Convolution" in type(layer).__name__]
    assert kinds == [PackedConvolution, WinogradConvolution, PackedConvolution, WinogradConvolution, PackedConvolution]


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")  # type: ignore[no-untyped-call]
def test_self_check_passes_with_the_torch_that_is_tested() -> None:
    assert (packing.packing_refusal(torch.float32), onednn.sum_refusal()) == ("", "")
    if "avx512_bf16" in processor()[1].split() and "ONEDNN_MAX_CPU_ISA" not in os.environ:
        assert packing.packing_refusal(torch.bfloat16) == ""


@pytest.fixture
def _new_process() -> Iterator[None]:
    """No self-check was made yet, and none is remembered."""
    for cached in (packing.packing_refusal, onednn.sum_refusal, note_once):
        cached.cache_clear()
    yield
    for cached in (packing.packing_refusal, onednn.sum_refusal, note_once):
        cached.cache_clear()


OPERATOR = torch.ops.mkldnn._convolution_pointwise


def refuse(*_: object) -> Tensor:
    raise RuntimeError("could not create a primitive\nand more")


def slightly_wrong(*arguments: Any) -> Tensor:
    return cast(Tensor, OPERATOR(*arguments)) * 1.001


def not_a_number(*arguments: Any) -> Tensor:
    return cast(Tensor, OPERATOR(*arguments)) * torch.nan


def of_another_shape(*arguments: Any) -> Tensor:
    return cast(Tensor, OPERATOR(*arguments))[..., 1:]


def wrong_for_products(x: Tensor, weight: Tensor, bias: Tensor, *settings: Any) -> Tensor:
    """Wrong only in groups, with which Winograd's method multiplies matrices."""
    found = cast(Tensor, OPERATOR(x, weight, bias, *settings))
    return found + 1 if settings[3] > 1 else found


BROKEN: dict[str, tuple[dict[str, Callable[..., Tensor]], str]] = {
    "missing": ({}, "no attribute"),
    "raises": ({"_convolution_pointwise": refuse}, "could not create a primitive)"),
    "slightly wrong": (
        {"_convolution_pointwise": slightly_wrong},
        "a 3x3 convolution of 3 to 16 channels is off by 0.1%",
    ),
    "not a number": ({"_convolution_pointwise": not_a_number}, "is off by nan%"),
    "another shape": ({"_convolution_pointwise": of_another_shape}, "has another shape"),
    "wrong for Winograd": ({"_convolution_pointwise": wrong_for_products}, "a 3x3 convolution of 128 to 256 channels"),
}
"""By kind of fault: the operators, and what the note says of it."""


@pytest.mark.usefixtures("_new_process")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")  # type: ignore[no-untyped-call]
@pytest.mark.parametrize("fault", BROKEN)
def test_operators_that_fail_the_self_check_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    operators, said = BROKEN[fault]
    if operators:
        for name, operator in operators.items():
            monkeypatch.setattr(torch.ops.mkldnn, name, operator)
    else:
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    network, frames = with_random_weights(Darknet.from_cfg(WIDE)), torch.rand(2, 3, 18, 18)
    for _ in range(2):
        run = Network(network, torch.device("cpu"), torch.float32)
        assert {type(layer) for layer in run.module.modules()}.isdisjoint({PackedConvolution, WinogradConvolution})
        found = run(frames)
    with torch.inference_mode():
        (exact,) = network.double()(frames.double())
    assert relative_error(found[0], exact) < 1e-5
    (record,) = caplog.records
    assert record.levelname == "WARNING" and said in record.message
    assert cpu_notices(torch.device("cpu"))[0] == record.message


@pytest.mark.usefixtures("_new_process")
def test_self_check_is_made_once_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    trials: list[object] = []
    monkeypatch.setattr(packing, "_trial", lambda *trial: trials.append(trial))
    monkeypatch.setattr(packing, "first_failure", lambda *_: "")
    for _ in range(3):
        packed(Darknet.from_cfg(WIDE))
    assert len(trials) == len(packing.TRIALS)


def test_self_check_covers_each_form_that_is_used() -> None:
    activations = {trial[4] for trial in packing.TRIALS}
    assert activations > set(packing.FUSED) and activations - set(packing.FUSED)
    sides = [side for channels, filters, size, stride, _, side in packing.TRIALS if channels >= 128 and filters >= 256]
    assert min(sides) < winograd.LARGE_MAP <= max(sides)


def no_sum(maps: Tensor, *_: object) -> Tensor:
    return maps


@pytest.mark.usefixtures("_new_process")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")  # type: ignore[no-untyped-call]
@pytest.mark.parametrize(
    ("operator", "said"),
    [(None, "no attribute"), (refuse, "could not create a primitive)"), (no_sum, "a sum of 2 convolutions is off by")],
)
def test_sums_that_fail_the_self_check_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, operator: Callable[..., Tensor] | None, said: str
) -> None:
    if operator is None:
        monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())
    else:
        monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise_", operator)
    network, frames = UNet(depth=2, width=4).eval(), torch.rand(1, 1, 16, 24)
    with torch.inference_mode():
        network(frames)
        found = network(frames)
        exact = network.double()(frames.double())
    assert relative_error(found, exact) < 1e-5
    (record,) = caplog.records
    assert record.levelname == "WARNING" and said in record.message
    assert cpu_notices(torch.device("cpu"))[-1] == record.message


def test_nothing_is_said_of_a_gpu() -> None:
    assert cpu_notices(torch.device("cuda")) == []


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
