from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from photon_triage.models.common.checkpoint import load, save
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import create
from photon_triage.models.msd import MSDNet, features, network

from ..builders import rounding_error
from .msd_reference import plain, random_model, relative_difference

NETWORKS: dict[str, dict[str, Any]] = {
    "published schedule": {"depth": 25},
    "one layer": {"depth": 1},
    "wide slabs, regression": {"depth": 7, "width": 3, "in_channels": 5, "out_channels": 1},
    "wider than a block": {"depth": 4, "width": 12, "dilations": [3, 1]},
    "up and down": {"depth": 23, "dilations": [10, 8, 6, 4, 2, 7, 7, 7, 1]},
    "one dilation": {"depth": 12, "dilations": [2]},
}
SIZES = ((1, 37, 59), (3, 11, 12), (2, 40, 40))


def frames_for(model: MSDNet, batch: int, height: int, width: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, model.in_channels, height, width, generator=generator, dtype=model.weights.dtype)


def with_statistics(model: MSDNet, mean: float | list[float], deviation: float | list[float]) -> None:
    """Give the model what older checkpoints bring: the mean and deviation of its training set, by channel."""
    model.input_mean.copy_(torch.tensor(mean))
    model.input_deviation.copy_(torch.tensor(deviation))


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps so short that a small frame takes many."""
    monkeypatch.setattr(features, "CPU_PLANE_VALUES", 90 * 400)


@pytest.mark.parametrize(
    ("depth", "in_channels", "out_channels", "parameters"),
    [(100, 3, 11, 48_494), (200, 3, 11, 186_944), (100, 1, 1, 45_652)],
)
def test_published_numbers_of_parameters(depth: int, in_channels: int, out_channels: int, parameters: int) -> None:
    assert MSDNet(depth, in_channels, out_channels).parameter_count() == parameters


def test_layers_hold_the_parameters_of_a_convolution_each() -> None:
    model = MSDNet(depth=6, in_channels=2, width=3)
    assert [tuple(weight.shape) for weight in model.layer_weights()] == [(3, 2 + 3 * i, 3, 3) for i in range(6)]
    assert model.macs(10, 20) == 200 * (sum(weight.numel() for weight in model.layer_weights()) + 2 * 20)


@pytest.mark.parametrize(("depth", "in_channels", "out_channels", "width"), [(100, 1, 2, 1), (30, 3, 11, 4)])
def test_weights_begin_as_published(depth: int, in_channels: int, out_channels: int, width: int) -> None:
    torch.manual_seed(3)
    model = MSDNet(depth, in_channels, out_channels, width)
    variance = 2 / (9 * (in_channels + width * (depth - 1)) + out_channels)
    assert float(model.weights.detach().var()) == pytest.approx(variance, rel=0.05)
    assert abs(float(model.weights.detach().mean())) < 0.05 * math.sqrt(variance)
    assert not any(parameter.any() for parameter in (model.biases, model.final_weight, model.final_bias))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_inference_equals_the_plain_form(options: dict[str, Any], size: tuple[int, int, int]) -> None:
    model = random_model(**options)
    frames = frames_for(model, *size)
    with torch.no_grad():
        expected = plain(model, frames)
        assert relative_difference(model(frames), expected) < 1e-5
        assert relative_difference(model.fused()(frames), expected) < 1e-5


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_steps_join_without_a_seam(options: dict[str, Any]) -> None:
    model = random_model(**options)
    frames = frames_for(model, 2, 41, 67)
    with torch.no_grad():
        assert relative_difference(model(frames), plain(model, frames)) < 1e-5


def test_a_deep_network_equals_the_plain_form() -> None:
    model = random_model(depth=100)
    frames = frames_for(model, 1, 64, 48)
    with torch.no_grad():
        assert relative_difference(model(frames), plain(model, frames)) < 1e-5


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
def test_gradients_equal_those_of_the_plain_form(options: dict[str, Any]) -> None:
    model = random_model(**options).double()
    frames = frames_for(model, 2, 23, 31).requires_grad_()
    with_statistics(model, 0.3, 2.0)
    sources = [frames, *model.parameters()]
    expected_output, output = plain(model, frames), model(frames)
    assert relative_difference(output, expected_output) < 1e-12
    upstream = torch.randn_like(output)
    expected = torch.autograd.grad(expected_output, sources, upstream)
    found = torch.autograd.grad(output, sources, upstream)
    assert max(map(relative_difference, found, expected)) < 1e-10


def test_gradients_in_float32_are_as_accurate_as_the_plain_forms() -> None:
    model = random_model(depth=40)
    frames = frames_for(model, 1, 48, 64)
    exact = torch.autograd.grad(plain(model.double(), frames.double()).square().sum(), list(model.parameters()))
    found = torch.autograd.grad(model.float()(frames).square().sum(), list(model.parameters()))
    assert max(map(relative_difference, found, exact)) < 1e-5


def test_parameters_get_gradients_when_the_frames_want_none() -> None:
    model = random_model(depth=12)
    frames = frames_for(model, 1, 20, 20)
    parameters = list(model.parameters())
    found = torch.autograd.grad(model(frames).sum(), parameters)
    expected = torch.autograd.grad(plain(model, frames).sum(), parameters)
    assert max(map(relative_difference, found, expected)) < 1e-5


def test_training_keeps_the_feature_maps_and_the_parameters_only() -> None:
    model = random_model(depth=20)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(frames_for(model, 1, 30, 40))
    maps = 21 * (30 + 20) * (40 + 20)
    assert sum(kept.values()) <= maps + model.parameter_count()


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    model = MSDNet(depth=8, out_channels=1)
    frames = frames_for(model, 1, 24, 24)
    target = frames.roll(3, dims=-1)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss: Tensor = (model(frames) - target).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.parametrize("tile", [16, 25, 200])
def test_tiles_give_the_same_output(tile: int) -> None:
    model = random_model(depth=6, dilations=[1, 2, 3])
    frames = frames_for(model, 1, 61, 47)
    with torch.no_grad():
        torch.testing.assert_close(model.in_tiles(frames, tile), model(frames), rtol=1e-5, atol=1e-6)


def test_a_far_pixel_changes_nothing_and_one_within_the_radius_does() -> None:
    model = random_model(depth=5, dilations=[3, 1])
    assert model.radius == 11
    frames = frames_for(model, 1, 60, 60)
    changed = frames.clone()
    changed[..., 30, 30] += 10
    with torch.no_grad():
        moved = (model(changed) - model(frames)).abs().amax(dim=(0, 1)) > 1e-6
    rows, columns = torch.nonzero(moved, as_tuple=True)
    assert [int(edge) for edge in (rows.min(), rows.max(), columns.min(), columns.max())] == [19, 41, 19, 41]


def test_frames_of_a_batch_do_not_touch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(depth=11)
    frames = frames_for(model, 3, 30, 20)
    with torch.no_grad():
        together = model(frames)
        monkeypatch.setattr(network, "PIXELS_AT_ONCE", 1)
        one_by_one = model(frames)
    torch.testing.assert_close(together, one_by_one, rtol=1e-5, atol=1e-6)


def test_input_statistics_normalise_every_form() -> None:
    model = random_model(depth=5, in_channels=2)
    counts = torch.randint(0, 500, (1, 2, 20, 20), dtype=torch.int16)
    mean, deviation = [100.0, 30.0], [20.0, 7.0]
    normal = (counts - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]
    expected = model(normal).detach()
    with_statistics(model, mean, deviation)
    assert relative_difference(model(counts), expected) < 1e-5
    with torch.no_grad():
        assert relative_difference(model(counts), expected) < 1e-5


def test_bfloat16_is_close() -> None:
    model = random_model(depth=40)
    frames = frames_for(model, 1, 40, 40)
    with torch.no_grad():
        expected = plain(model, frames)
        found = model.bfloat16()(frames)
    assert found.dtype == torch.bfloat16
    # Each layer adds a little to the output, with an error of its own: they do not add up as those of layers in a row.
    assert relative_difference(found.float(), expected) < rounding_error(4)


def test_a_checkpoint_brings_the_network_back(tmp_path: Path) -> None:
    model = random_model(depth=7, in_channels=3, out_channels=4, width=2, dilations=[1, 4])
    with_statistics(model, 2.0, 3.0)
    frames = frames_for(model, 1, 20, 20)
    found, metadata = load(save(tmp_path / "model.safetensors", model, {"classes": ["a", "b", "c", "d"]}))
    assert metadata["architecture"] == model.architecture
    assert isinstance(found, MSDNet)
    assert torch.equal(found(frames), model(frames))


def test_the_registry_builds_it() -> None:
    model = create("msd", depth=100, in_channels=1, out_channels=2)
    assert isinstance(model, MSDNet)
    assert model.layout.dilations == tuple(range(1, 11)) * 10


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"depth": 0}, "depth=0"),
        ({"in_channels": 0}, "in_channels=0"),
        ({"out_channels": -1}, "out_channels=-1"),
        ({"width": 0}, "width=0"),
        ({"depth": 2.5}, "depth=2.5"),
        ({"dilations": [1, 0]}, "dilations=[1, 0]"),
        ({"dilations": []}, "[]"),
        ({"dilations": [1.5]}, "[1.5]"),
        ({"dilations": 3}, "dilations=3"),
        ({"height": 3}, "height"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], word: str) -> None:
    with pytest.raises(ModelError) as caught:
        create("msd", **options)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 30, 30), "(batch, 1, height, width)"),
        ((1, 2, 30, 30), "(batch, 1, height, width)"),
        ((0, 1, 30, 30), "(batch, 1, height, width)"),
        ((1, 1, 30, 10), "at least 11 pixels"),
    ],
)
def test_bad_frames_are_refused(shape: tuple[int, ...], expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        MSDNet(depth=10)(torch.zeros(shape))
    assert expected in str(caught.value)


def test_a_frame_takes_little_more_memory_than_its_feature_maps() -> None:
    script = """
import resource, torch
from photon_triage.models.msd import MSDNet
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model = MSDNet(depth=100).fused()
model(torch.rand(1, 1, 64, 64))
before = peak()
model(torch.rand(1, 1, 512, 512))
print(peak() - before)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1.5 * 101 * 512 * 512 * 4
