from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from photon_triage import models
from photon_triage.models.common import checkpoint
from photon_triage.models.common.errors import ModelError
from photon_triage.models.nets import dense
from photon_triage.models.nets.lenet import LeNetPatch, LeNetPatch3d
from photon_triage.models.nets.patch_classifier import PatchClassifier

Network = TypeVar("Network", bound=PatchClassifier)

SMALL: dict[str, Any] = {"patch": 13, "widths": (3, 4), "kernels": (3, 2), "hidden": (8, 5)}
"""Behind the second pool 2x2 are left, and a row and a column were dropped."""


def with_biases(network: Network) -> Network:
    """The network with biases other than 0, from a fixed seed."""
    torch.manual_seed(3)
    network.reset_parameters()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 0.2)
    return network


def plain(network: PatchClassifier) -> nn.Sequential:
    """The same network as a stack of torch's own layers."""
    flat = network.dimensions == 2
    act: type[nn.Module] = nn.ReLU if network.options.activation == "relu" else nn.Tanh
    pools: dict[str, type[nn.Module]] = {
        "max": nn.MaxPool2d if flat else nn.MaxPool3d,
        "average": nn.AvgPool2d if flat else nn.AvgPool3d,
    }
    pool: Any = pools[network.options.pooling]
    stack: list[nn.Module] = []
    for layer in network.convolutions:
        stack += [layer, act(), pool(2)]
    stack.append(nn.Flatten())
    for layer in network.layers:
        stack += [layer, act()]
    return nn.Sequential(*stack[:-1])


def patch_by_patch(network: PatchClassifier, frames: Tensor) -> Tensor:
    """The logits at every position, by cutting the patches out."""
    reference, patch = plain(network), network.options.patch
    counts = [extent - side + 1 for extent, side in zip(frames.shape[2:], patch, strict=True)]
    rows = []
    for place in product(*map(range, counts)):
        box = tuple(slice(start, start + side) for start, side in zip(place, patch, strict=True))
        rows.append(reference(frames[(slice(None), slice(None), *box)]))
    return torch.stack(rows, -1).reshape(len(frames), network.classes, *counts)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 168_546),
        ({"patch": 32, "classes": 10}, 61_706),
        ({"in_channels": 3, "patch": 32, "classes": 10}, 61_706 + 300),
        ({"patch": 24, "widths": (8,), "kernels": (5,), "hidden": ()}, 8 * 26 + 2 * (8 * 10 * 10 + 1)),
    ],
)
def test_parameter_counts(options: dict[str, Any], parameters: int) -> None:
    network = LeNetPatch(**options)
    assert network.parameter_count() == parameters
    assert sum(value.numel() for value in network.state_dict().values()) == parameters


def test_parameter_count_in_3d() -> None:
    expected = 6 * 126 + 16 * (6 * 125 + 1) + 120 * (16 * 125 + 1) + 84 * 121 + 2 * 85
    assert LeNetPatch3d().parameter_count() == expected


@pytest.mark.parametrize(("activation", "pooling"), list(product(("relu", "tanh"), ("max", "average"))))
def test_forward_equals_the_plain_stack(activation: str, pooling: str) -> None:
    network = with_biases(LeNetPatch(in_channels=2, activation=activation, pooling=pooling, **SMALL))
    patches = torch.randn(5, 2, 13, 13)
    torch.testing.assert_close(network(patches), plain(network)(patches))
    assert network(patches[:0]).shape == (0, 2)


@settings(max_examples=20)
@given(
    st.sampled_from([((3,), (4,)), ((3, 4), (3, 2)), ((2, 3, 2), (3, 2, 1))]),
    st.integers(14, 22),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from(["max", "average"]),
)
def test_dense_equals_patches(
    levels: tuple[tuple[int, ...], tuple[int, ...]], patch: int, taller: int, wider: int, pooling: str
) -> None:
    widths, kernels = levels
    network = LeNetPatch(2, 3, patch, widths, kernels, (6,), pooling=pooling)
    network = with_biases(network).double().requires_grad_(False)
    frames = torch.randn(2, 2, patch + taller, patch + wider, dtype=torch.float64)
    torch.testing.assert_close(network.dense(frames), patch_by_patch(network, frames), rtol=0, atol=1e-12)


@torch.no_grad()
def test_dense_of_the_published_network_equals_patches_within_1e_6() -> None:
    torch.manual_seed(2)
    network, frames = LeNetPatch(), torch.rand(1, 1, 57, 61)
    expected = patch_by_patch(network, frames)
    torch.testing.assert_close(network.dense(frames), expected, rtol=0, atol=1e-6)
    assert expected.std() > 1e-3


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many threads torch uses: products of matrices are shared out differently among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.6, 1.0])
@pytest.mark.usefixtures("threads")
@torch.no_grad()
def test_masked_equals_dense_to_the_last_bit(share: float) -> None:
    network, frames = with_biases(LeNetPatch()), torch.randn(2, 1, 90, 100)
    mask = torch.rand(2, 90, 100, generator=torch.Generator().manual_seed(7)) < share
    chosen = mask[:, 25 : 25 + 41, 25 : 25 + 51]
    whole, found = network.dense(frames).movedim(1, -1), network.dense(frames, mask).movedim(1, -1)
    assert torch.equal(found[chosen], whole[chosen])
    assert found[~chosen].isnan().all() and len(found[chosen]) == chosen.sum()


@torch.no_grad()
def test_mask_may_be_of_one_frame_or_of_the_positions() -> None:
    network, frames = with_biases(LeNetPatch(**SMALL)), torch.randn(3, 1, 20, 22)
    mask = torch.rand(20, 22) < 0.3
    expected = network.dense(frames, mask.expand(3, 20, 22), fill=-9.0)
    inner = mask[6 : 6 + 8, 6 : 6 + 10]
    assert (expected == -9).all(1).equal(~inner.expand(3, 8, 10))
    for same in (mask, inner, inner.expand(3, 8, 10)):
        assert torch.equal(network.dense(frames, same, fill=-9.0), expected)


@torch.no_grad()
def test_large_frames_are_computed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    network, frames = with_biases(LeNetPatch(**SMALL)).double(), torch.randn(3, 1, 70, 51, dtype=torch.float64)
    mask = torch.zeros(70, 51, dtype=torch.bool)
    mask[40:47, 7:30] = True
    whole, sizes = network.dense(frames), []
    monkeypatch.setitem(dense.BLOCK_VALUES, 2, 4 * 30 * 30)
    pool = dense.pool_at_stride_one

    def watched(maps: Tensor, distance: int, pooling: str) -> Tensor:
        sizes.append(maps.shape[0] * maps.shape[2] * maps.shape[3])
        return pool(maps, distance, pooling)

    monkeypatch.setattr("photon_triage.models.nets.patch_classifier.pool_at_stride_one", watched)
    parts = network.dense(frames)
    in_all = len(sizes)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert max(sizes) <= 30 * 30
    found = network.dense(frames, mask)
    assert torch.equal(found[..., 34:41, 1:24], parts[..., 34:41, 1:24])
    assert len(sizes) - in_all < in_all / 2, "blocks without a pixel of the mask are left out"


def test_blocks_tile_and_fit() -> None:
    found = dense.blocks((100, 37), (9, 9), 1200)
    covered = torch.zeros(100, 37)
    for rows, columns in found:
        covered[rows, columns] += 1
        assert (rows.stop - rows.start + 9) * (columns.stop - columns.start + 9) <= 1200
    assert (covered == 1).all()
    assert len(dense.blocks((100, 37), (9, 9), 1)) < 200, "no smaller than the margins"


@pytest.mark.parametrize("patch", [12, (9, 13, 10)])
def test_dense_equals_boxes_in_3d(patch: int | tuple[int, ...]) -> None:
    network = with_biases(LeNetPatch3d(2, 3, patch, (3, 4), (3, 2), (6,))).double().requires_grad_(False)
    sides = network.patch
    volumes = torch.randn(2, 2, sides[0] + 3, sides[1] + 2, sides[2] + 4, dtype=torch.float64)
    expected = patch_by_patch(network, volumes)
    torch.testing.assert_close(network.dense(volumes), expected, rtol=0, atol=1e-12)
    mask = torch.rand(volumes.shape[2:]) < 0.4
    starts = [side // 2 for side in sides]
    inner = mask[starts[0] :, starts[1] :, starts[2] :][:4, :3, :5]
    found = network.dense(volumes, mask)
    assert torch.equal(found.movedim(1, -1)[:, inner], network.dense(volumes).movedim(1, -1)[:, inner])
    assert found.movedim(1, -1)[:, ~inner].isnan().all()


def test_gradients_are_those_of_the_patches() -> None:
    network = with_biases(LeNetPatch(**SMALL)).double()
    frames = torch.randn(1, 1, 16, 17, dtype=torch.float64)
    wanted = torch.autograd.grad(patch_by_patch(network, frames).square().sum(), list(network.parameters()))
    found = torch.autograd.grad(network.dense(frames).square().sum(), list(network.parameters()))
    torch.testing.assert_close(found, wanted)
    masked = network.dense(frames, torch.ones(16, 17, dtype=torch.bool), fill=0.0)
    torch.testing.assert_close(torch.autograd.grad(masked.square().sum(), list(network.parameters())), wanted)


def test_forward_learns() -> None:
    torch.manual_seed(0)
    network = LeNetPatch(**SMALL)
    patches = torch.randn(64, 1, 13, 13)
    labels = (patches[:, 0, 4:9, 4:9].mean((1, 2)) > 0).long()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(patches), labels)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


@torch.no_grad()
def test_score_map_stands_on_the_frame() -> None:
    network, frames = with_biases(LeNetPatch(**SMALL)), torch.randn(2, 1, 20, 24)
    scores = network.score_map(frames)
    assert scores.shape == (2, 20, 24)
    patch = frames[:, :, 9 - 6 : 9 + 7, 10 - 6 : 10 + 7]
    torch.testing.assert_close(scores[:, 9, 10], torch.softmax(network(patch), 1)[:, 1])
    border = torch.ones(20, 24, dtype=torch.bool)
    border[6:14, 6:18] = False
    assert scores[:, border].isnan().all() and not scores[:, ~border].isnan().any()


@torch.no_grad()
def test_padded_score_map_has_every_pixel() -> None:
    network, frames = with_biases(LeNetPatch(**SMALL)), torch.randn(2, 1, 20, 9)
    scores = network.score_map(frames, pad=True)
    assert scores.shape == (2, 20, 9) and not scores.isnan().any()
    mirrored = nn.functional.pad(frames, (6, 6, 6, 6), mode="reflect")
    torch.testing.assert_close(scores[:, 0, 0], torch.softmax(network(mirrored[:, :, :13, :13]), 1)[:, 1])
    mask = torch.rand(2, 20, 9) < 0.5
    masked = network.score_map(frames, mask, pad=True)
    assert torch.equal(masked[mask], scores[mask]) and masked[~mask].isnan().all()


@torch.no_grad()
def test_score_map_of_a_volume() -> None:
    network = with_biases(LeNetPatch3d(patch=10, widths=(2,), kernels=(3,), hidden=(4,)))
    scores = network.score_map(torch.randn(1, 1, 4, 11, 12), pad=True)
    assert scores.shape == (1, 4, 11, 12) and bool(((scores > 0) & (scores < 1)).all())


def test_macs() -> None:
    convolutions = 6 * 25 * 508**2 + 16 * 6 * 25 * 499**2
    layers = (81 * 16 * 120 + 120 * 84 + 84 * 2) * 463**2
    assert LeNetPatch().macs(512, 512) == convolutions + layers
    small = LeNetPatch3d(patch=6, widths=(2,), kernels=(3,), hidden=())
    assert small.macs(8, 7, 6) == 2 * 27 * (6 * 5 * 4) + 2 * 8 * 2 * (3 * 2 * 1)
    with pytest.raises(ModelError, match="patches of 50x50 on 40x90 pixels"):
        LeNetPatch().macs(40, 90)


@pytest.mark.parametrize(
    "network",
    [
        LeNetPatch(2, 3, 20, (4,), (3,), (7,), "tanh", "average"),
        LeNetPatch3d(1, 2, (9, 12, 10), (2, 3), (2, 3), ()),
    ],
)
@torch.no_grad()
def test_checkpoint_round_trip(network: PatchClassifier, tmp_path: Path) -> None:
    copy, metadata = checkpoint.load(checkpoint.save(tmp_path / "finder.safetensors", network, {}))
    assert type(copy) is type(network) and isinstance(copy, PatchClassifier)
    assert copy.architecture == metadata["architecture"] == network.architecture
    patches = torch.randn(3, network.in_channels, *network.options.patch)
    assert torch.equal(copy(patches), network(patches))


def test_networks_are_created_by_name() -> None:
    assert isinstance(models.create("lenet", patch=32), LeNetPatch)
    assert isinstance(models.create("lenet3d", patch=[16, 24, 24]), LeNetPatch3d)


def test_fused_copy_is_for_inference() -> None:
    network = with_biases(LeNetPatch(**SMALL))
    twin = network.fused()
    patches = torch.randn(2, 1, 13, 13)
    assert network.training and not twin.training and not twin(patches).requires_grad
    assert torch.equal(twin(patches), network(patches).detach())


@torch.no_grad()
def test_half_precision_runs() -> None:
    network, frames = with_biases(LeNetPatch(**SMALL)), torch.rand(1, 1, 18, 18)
    found = network.bfloat16().dense(frames.bfloat16())
    expected = network.float().dense(frames)
    assert found.dtype == torch.bfloat16
    # Each of the few layers rounds to 8 bits, a relative error of 2**-8 at most.
    assert torch.linalg.vector_norm(found.float() - expected) < 0.02 * torch.linalg.vector_norm(expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
def test_cuda_gives_the_same() -> None:
    network, frames = with_biases(LeNetPatch()), torch.rand(2, 1, 120, 130)
    expected = network.dense(frames)
    mask = torch.rand(2, 120, 130, device="cuda") < 0.05
    network.cuda()
    whole, masked = network.dense(frames.cuda()), network.dense(frames.cuda(), mask)
    torch.testing.assert_close(whole.cpu(), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(masked[~masked.isnan()], whole[~masked.isnan()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "with classes 0"),
        ({"in_channels": 1.5}, r"with in_channels 1\.5"),
        ({"patch": "50"}, r"with patch \('50', '50'\)"),
        ({"patch": 15}, "nothing is left of a patch of 15x15 pixels behind convolutions of 5, 5"),
        ({"widths": 6}, "with widths 6"),
        ({"widths": (6,)}, "with 1 widths and 2 kernels"),
        ({"widths": (), "kernels": ()}, "with 0 widths and 0 kernels"),
        ({"hidden": (120, 0)}, r"with hidden \(120, 0\)"),
        ({"activation": "gelu"}, "activation 'gelu'. Use relu or tanh"),
        ({"pooling": "min"}, "pooling 'min'. Use max or average"),
    ],
)
def test_bad_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LeNetPatch(**options)


def test_wrong_number_of_sides_is_told() -> None:
    with pytest.raises(ModelError, match=r"for patches of 20x20\. Give 3 sides"):
        LeNetPatch3d(patch=(20, 20))


@pytest.mark.parametrize(
    ("frames", "mask", "message"),
    [
        (torch.zeros(1, 2, 20, 20), None, r"frames of shape \(1, 2, 20, 20\). Expected \(batch, 1, height, width\)"),
        (torch.zeros(1, 20, 20), None, r"frames of shape \(1, 20, 20\)"),
        (torch.zeros(1, 1, 20, 12), None, "frames of 20x12 with patches of 13x13 pixels"),
        (torch.zeros(1, 1, 20, 20, dtype=torch.float64), None, "torch.float32 on cpu on torch.float64 on cpu"),
        (torch.zeros(1, 1, 20, 20), torch.ones(20, 20), "mask of torch.float32"),
        (torch.zeros(1, 1, 20, 20), torch.ones(2, 20, 20, dtype=torch.bool), r"shape \(2, 20, 20\) on frames of 20x20"),
    ],
)
def test_bad_frames_and_masks_are_told(frames: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        LeNetPatch(**SMALL).dense(frames, mask)


def test_bad_patches_are_told() -> None:
    with pytest.raises(ModelError, match=r"shape \(2, 1, 12, 13\). Expected \(n, 1, 13, 13\)"):
        LeNetPatch(**SMALL)(torch.zeros(2, 1, 12, 13))
    with pytest.raises(ModelError, match=r"torch.float32 on cpu on torch.int32"):
        LeNetPatch(**SMALL)(torch.zeros(2, 1, 13, 13, dtype=torch.int32))
    with pytest.raises(ModelError, match="has one class"):
        LeNetPatch(classes=1, **SMALL).score_map(torch.zeros(1, 1, 20, 20))
