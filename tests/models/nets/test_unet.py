from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage import models
from photon_triage.models.common import checkpoint
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.tiles import mirrored
from photon_triage.models.nets import unet as unet_layers
from photon_triage.models.nets.unet import UNet


def small(**options: Any) -> UNet:
    """A U-Net of two levels with biases and statistics that differ from their defaults, in evaluation mode."""
    torch.manual_seed(4)
    network = UNet(**{"depth": 2, "width": 4, **options})
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.ndim == 1:
                value.normal_(0.3, 0.2)
    return network.eval()


def plain(network: UNet, frames: Tensor) -> Tensor:
    """The published network layer by layer: torch's convolutions, concatenated skips."""

    def pair(block: Any, maps: Tensor) -> Tensor:
        for layer in (block.first, block.second):
            maps = layer.convolution(maps)
            maps = functional.relu(maps if layer.norm is None else layer.norm(maps))
        return maps

    maps, skips = frames, []
    for block in network.down[:-1]:
        skips.append(pair(block, maps))
        maps = functional.max_pool2d(skips[-1], 2)
    maps = pair(network.down[-1], maps)
    for enlarge, block in zip(network.enlarge, network.up, strict=True):
        maps, skip = enlarge(maps), skips.pop()
        cut = (skip.shape[-1] - maps.shape[-1]) // 2
        rows = (skip.shape[-2] - maps.shape[-2]) // 2
        skip = skip[..., rows : rows + maps.shape[-2], cut : cut + maps.shape[-1]]
        maps = pair(block, torch.cat([skip, maps], 1))
    result: Tensor = network.final(maps)
    return result


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 31_030_658),
        ({"out_channels": 1, "padding": "valid"}, 31_030_593),
        ({"depth": 1, "width": 2}, 2 * 10 + 2 * 19 + 4 * 19 + 4 * 37 + (4 * 2 * 4 + 2) + 2 * 37 + 2 * 19 + 2 * 3),
    ],
)
def test_parameter_counts(options: dict[str, Any], parameters: int) -> None:
    assert UNet(**options).parameter_count() == parameters


def test_published_size_without_padding() -> None:
    network = UNet(width=2, padding="valid").eval()
    with torch.no_grad():
        found = network(torch.rand(1, 1, 572, 556))
    assert found.shape == (1, 2, 388, 372) and network.radius == (572 - 388) // 2


@pytest.mark.parametrize("normalisation", [None, "batch", "instance", "group"])
@pytest.mark.parametrize("padding", ["same", "valid"])
@torch.no_grad()
def test_forward_equals_the_plain_form(padding: str, normalisation: str | None) -> None:
    network = small(padding=padding, normalisation=normalisation, in_channels=2, out_channels=3)
    frames = torch.randn(2, 2, 48, 64) if padding == "same" else torch.randn(2, 2, 52, 68)
    torch.testing.assert_close(network(frames), plain(network, frames), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network.fused()(frames), plain(network, frames), rtol=1e-4, atol=1e-5)
    exact = network.double()
    torch.testing.assert_close(exact(frames.double()), plain(exact, frames.double()))


@torch.no_grad()
def test_kernels_with_activation_equal_those_without(monkeypatch: pytest.MonkeyPatch) -> None:
    network, frames = small().fused(), torch.randn(1, 1, 32, 40)
    assert unet_layers.has_fused_kernel(frames, network.final.weight)
    found = network(frames)
    monkeypatch.setattr(unet_layers, "has_fused_kernel", lambda maps, weight: False)
    torch.testing.assert_close(found, network(frames), rtol=1e-4, atol=1e-5)


def test_kernels_with_activation_are_not_for_gradients() -> None:
    frames, weight = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3, requires_grad=True)
    assert not unet_layers.has_fused_kernel(frames, weight)
    assert not unet_layers.has_fused_kernel(frames.double(), weight.detach().double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not unet_layers.has_fused_kernel(frames, weight.detach())


@pytest.mark.parametrize("normalisation", [None, "batch", "group"])
def test_gradients_equal_those_of_the_plain_form(normalisation: str | None) -> None:
    network = small(normalisation=normalisation).double().train()
    frames = torch.randn(2, 1, 16, 24, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(plain(network, frames).square().sum(), [frames, *network.parameters()])
    found = torch.autograd.grad(network(frames).square().sum(), [frames, *network.parameters()])
    torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_any_size_is_mirrored_to_multiples_and_cropped() -> None:
    network, frames = small(), torch.randn(1, 1, 21, 30)
    larger = functional.pad(frames, (0, 2, 0, 3), mode="reflect")
    torch.testing.assert_close(network(frames), plain(network, larger)[..., :21, :30], rtol=1e-4, atol=1e-5)
    assert network(frames[..., :1, :2]).shape == (1, 2, 1, 2)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_radius_is_how_far_the_output_looks(depth: int) -> None:
    network = UNet(depth=depth, width=2).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.01)
    m = network.multiple
    start = -(-network.radius // m) * m + m
    side = 2 * start + m
    frames = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    block = network(frames)[..., start : start + m, start : start + m]
    (gradient,) = torch.autograd.grad(block.sum(), frames)
    seen = gradient[0, 0].amax(0).nonzero().flatten()
    # A pool passes the gradient to the first of equal values only, so the far side can fall short of it.
    assert start - int(seen.min()) == network.radius


@pytest.mark.parametrize(("height", "width", "tile"), [(64, 80, 16), (61, 75, 20), (90, 33, 7), (30, 30, 64)])
@torch.no_grad()
def test_tiles_equal_the_whole_frame(height: int, width: int, tile: int) -> None:
    network = small(normalisation="batch").double()
    frames = torch.randn(2, 1, height, width, dtype=torch.float64)
    torch.testing.assert_close(network.in_tiles(frames, tile), network(frames), rtol=0, atol=1e-12)


@pytest.mark.parametrize("tile", [1, 12, 20, 27])
@torch.no_grad()
def test_tiles_without_padding_equal_a_mirrored_frame(tile: int) -> None:
    network = small(padding="valid").double()
    frames = torch.randn(2, 1, 40, 37, dtype=torch.float64)
    rows, columns = (mirrored(torch.arange(-20, 64), side) for side in (40, 37))
    whole = network(frames[:, :, rows][:, :, :, columns])
    found = network.in_tiles(frames, tile)
    assert found.shape == (2, 2, 40, 37)
    torch.testing.assert_close(found, whole[..., :40, :37], rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalisation", ["instance", "group", "batch"])
def test_tiles_are_refused_where_the_whole_frame_counts(normalisation: str) -> None:
    network = small(normalisation=normalisation).train()
    with pytest.raises(ModelError, match=f"{normalisation} normalisation depends on the whole frame"):
        network.in_tiles(torch.zeros(1, 1, 32, 32), 16)


def test_weights_begin_as_published() -> None:
    torch.manual_seed(0)
    network = UNet(width=32)
    convolution, up = network.up[1].first.convolution, network.enlarge[0]  # type: ignore[union-attr]
    assert isinstance(convolution, nn.Conv2d) and isinstance(up, nn.ConvTranspose2d)
    assert float(convolution.weight.detach().std()) == pytest.approx(math.sqrt(2 / (9 * 256)), rel=0.02)
    assert float(up.weight.detach().std()) == pytest.approx(math.sqrt(2 / 512), rel=0.02)
    assert convolution.bias is not None and not convolution.bias.any()


def test_signal_keeps_its_size_through_the_network() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        found = UNet(width=16)(torch.randn(1, 1, 64, 64))
    assert 0.2 < float(found.std()) < 10


def test_it_learns_to_outline() -> None:
    torch.manual_seed(0)
    network = UNet(depth=2, width=8, dropout=0.1)
    frames = functional.avg_pool2d(torch.randn(4, 1, 40, 40), 9, 1, 4) * 9
    truth = (frames[:, 0] > 0).long()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        loss = functional.cross_entropy(network(frames), truth)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_dropout_is_for_training_alone() -> None:
    network, frames = small(dropout=0.5), torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(frames), network(frames))
        network.train()
        assert not torch.equal(network(frames), network(frames))


@pytest.mark.parametrize("options", [{}, {"padding": "valid", "normalisation": "batch", "dropout": 0.25}])
@torch.no_grad()
def test_checkpoint_round_trip(options: dict[str, Any], tmp_path: Path) -> None:
    network = small(**options)
    copy, metadata = checkpoint.load(checkpoint.save(tmp_path / "unet.safetensors", network, {}))
    assert isinstance(copy, UNet)
    assert copy.architecture == metadata["architecture"] == network.architecture
    frames = torch.randn(1, 1, 44, 44)
    assert torch.equal(copy(frames), network(frames))


@torch.no_grad()
def test_fused_copy_is_a_network_without_batch_norm() -> None:
    network = small(normalisation="batch").train()
    twin = network.fused()
    assert network.training and network.normalisation == "batch" and not twin.training
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    again = UNet(**{name: value for name, value in twin.architecture.items() if name != "family"})
    again.load_state_dict(twin.state_dict())
    frames = torch.randn(1, 1, 24, 24)
    torch.testing.assert_close(again(frames), network.eval()(frames), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("options", "side"), [({}, 24), ({"padding": "valid"}, 52), ({"depth": 3}, 32)])
def test_macs_are_those_of_the_layers(options: dict[str, Any], side: int) -> None:
    network = small(**options)
    counted = []

    def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        places = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        counted.append(module.weight.numel() * places.shape[-2] * places.shape[-1])

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        plain(network, torch.zeros(1, 1, side, side + network.multiple))
    assert network.macs(side, side + network.multiple) == sum(counted)
    if network.padding == "same":
        assert network.macs(side - 1, side + 1) == sum(counted)


def test_network_is_created_by_name() -> None:
    assert isinstance(models.create("unet", depth=1, width=2), UNet)


@torch.no_grad()
def test_half_precision_runs() -> None:
    network, frames = small(), torch.randn(1, 1, 16, 16)
    expected = network(frames)
    found = network.bfloat16()(frames.bfloat16())
    assert found.dtype == torch.bfloat16
    # Each of the few layers rounds to 8 bits, a relative error of 2**-8 at most.
    assert torch.linalg.vector_norm(found.float() - expected) < 0.02 * torch.linalg.vector_norm(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_cuda_gives_the_same() -> None:
    network, frames = small(normalisation="batch"), torch.randn(2, 1, 61, 75)
    expected = network(frames)
    on_gpu = network.fused().cuda()
    torch.testing.assert_close(on_gpu(frames.cuda()).cpu(), expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(on_gpu.in_tiles(frames.cuda(), 16).cpu(), expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "with depth 0"),
        ({"width": 64.0}, r"with width 64\.0"),
        ({"in_channels": True}, "with in_channels True"),
        ({"padding": "reflect"}, r"padding 'reflect'\. Use same or valid"),
        ({"normalisation": "layer"}, r"normalisation 'layer'\. Use None, batch, instance, group"),
        ({"dropout": 1.0}, r"with dropout 1\.0"),
        ({"dropout": "half"}, "with dropout 'half'"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        UNet(**options)


@pytest.mark.parametrize(
    ("side", "message"),
    [
        (571, r"on 571x571 pixels\. Sides next to 571 that fit: 556 or 572\. Or use in_tiles"),
        (573, "that fit: 572 or 588"),
        (64, r"that fit: 188\."),
    ],
)
def test_sizes_that_do_not_fit_are_told(side: int, message: str) -> None:
    network = UNet(width=1, padding="valid")
    with pytest.raises(ModelError, match=message):
        network(torch.zeros(1, 1, side, side))
    with pytest.raises(ModelError, match=message):
        network.macs(side, side)


@pytest.mark.parametrize("side", [188, 204])
@torch.no_grad()
def test_sizes_that_are_told_do_fit(side: int) -> None:
    network = UNet(width=1, padding="valid")
    assert network(torch.zeros(1, 1, side, 188)).shape == (1, 2, side - 184, 4)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 2, 16, 16), r"shape \(1, 2, 16, 16\)\. Expected \(batch, 1, height, width\)"),
        (torch.zeros(16, 16), r"shape \(16, 16\)"),
        (torch.zeros(0, 1, 16, 16), r"shape \(0, 1, 16, 16\)"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.float16), "torch.float32 on cpu on torch.float16 on cpu"),
    ],
)
def test_bad_frames_are_told(frames: Tensor, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        small()(frames)
    with pytest.raises(ModelError, match=message):
        small().in_tiles(frames, 16)


def test_bad_tile_is_told() -> None:
    with pytest.raises(ModelError, match="in tiles of 0 pixels"):
        small().in_tiles(torch.zeros(1, 1, 16, 16), 0)
