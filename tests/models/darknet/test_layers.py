from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.layers import BatchNorm, Convolution, NormForm, Reorg
from photon_triage.models.darknet.pooling import MaxPool

from ..builders import NET, SMALL, convolution, with_random_weights


def test_reorg_equals_a_loop_over_darknets_memory_order() -> None:
    x = torch.randn(2, 8, 6, 4)
    flat = x.numpy().reshape(2, -1)
    batch, channels, height, width = x.shape
    expected = np.empty_like(flat)
    narrow = channels // 4
    for b in range(batch):
        for k in range(channels):
            for j in range(height):
                for i in range(width):
                    row, column = j * 2 + k // narrow // 2, i * 2 + k // narrow % 2
                    source = column + width * 2 * (row + height * 2 * (k % narrow))
                    expected[b, i + width * (j + height * k)] = flat[b, source]
    torch.testing.assert_close(Reorg(2)(x), torch.from_numpy(expected.reshape(2, 32, 3, 2)))


def test_reorg_is_not_pixel_unshuffle() -> None:
    x = torch.randn(1, 512, 26, 26)
    assert Reorg(2)(x).shape == functional.pixel_unshuffle(x, 2).shape
    assert not torch.equal(Reorg(2)(x), functional.pixel_unshuffle(x, 2))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 5), st.integers(5, 12), st.integers(5, 12))
def test_maxpool_padding_equals_darknets_windows(size: int, stride: int, padding: int, height: int, width: int) -> None:
    padding = min(padding, size)
    x = torch.randn(1, 2, height, width)
    rows, columns = ((extent + padding - size) // stride + 1 for extent in (height, width))
    expected = torch.full((1, 2, rows, columns), -torch.inf)
    for r in range(rows):
        for c in range(columns):
            top, left = r * stride - padding // 2, c * stride - padding // 2
            window = x[..., max(top, 0) : top + size, max(left, 0) : left + size]
            if window.numel():
                expected[..., r, c] = window.amax((2, 3))
    pool = MaxPool(size, stride, padding)
    torch.testing.assert_close(pool(x), expected)
    assert pool.output_shape((2, height, width)) == (2, rows, columns)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("size=2\nstride=2\n", (16, 16)),
        ("size=2\nstride=1\n", (32, 32)),
        ("size=3\nstride=2\n", (16, 16)),
        ("size=2\nstride=2\npadding=0\n", (16, 16)),
        ("size=2\nstride=2\npadding=2\n", (17, 17)),
        ("size=13\nstride=1\n", (32, 32)),
        ("stride=2\n", (16, 16)),
    ],
)
def test_maxpool_padding_of_a_cfg(options: str, shape: tuple[int, int]) -> None:
    """Without the key, Darknet pads size - 1: the pool of stride 1 at the end of YOLOv3-tiny keeps 13x13."""
    (output,) = Darknet.from_cfg(NET + "[maxpool]\n" + options)(torch.rand(1, 3, 32, 32))
    assert output.shape[2:] == shape


def norm_with_statistics(form: NormForm) -> BatchNorm:
    norm = BatchNorm(4, form).eval()
    assert norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.copy_(torch.tensor([0.0, 1.0, -2.0, 0.5]))
    norm.running_var.copy_(torch.tensor([0.0, 1e-6, 1e-4, 2.0]))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 0.5, 1.5]))
        norm.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.25]))
    return norm


@pytest.mark.parametrize("form", ["cpu", "cuda"])
def test_batch_norm_epsilon_of_darknets_cpu_and_cuda_builds(form: NormForm) -> None:
    norm, x = norm_with_statistics(form), torch.randn(2, 4, 3, 3)
    mean, variance, scale, bias = (
        tensor.detach().double().numpy()[:, None, None]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        if tensor is not None
    )
    deviation = np.sqrt(variance) + 1e-6 if form == "cpu" else np.sqrt(variance + 1e-5)
    expected = scale * (x.double().numpy() - mean) / deviation + bias
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("form", ["cpu", "cuda"])
def test_batch_norm_folds_with_the_epsilon_of_its_form(form: NormForm) -> None:
    layer = Convolution(3, 4, 3, 1, 1, 1, "linear", True, form).eval()
    layer.norm = norm_with_statistics(form)
    x = torch.rand(1, 3, 5, 5)
    expected = layer(x)
    layer.fold_norm()
    assert (layer(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("form", ["cpu", "cuda"])
def test_batch_norm_epsilon_in_training_is_cudas(form: NormForm) -> None:
    x = 1e-3 * torch.randn(4, 4, 8, 8)
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    norm = BatchNorm(4, form).train()
    torch.testing.assert_close(norm(x), (x - mean) / torch.sqrt(variance + 1e-5))
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, 0.01 * mean.flatten())


def test_the_form_of_batch_norm_is_the_networks() -> None:
    forms: tuple[NormForm, NormForm] = ("cpu", "cuda")
    for form in forms:
        model = Darknet.from_cfg(SMALL, norm_form=form)
        assert [layer.norm.form for _, layer in model.convolutions() if layer.norm is not None] == [form] * 2
        assert model.architecture["norm_form"] == form
    with pytest.raises(ModelError, match="norm_form='gpu'"):
        Darknet.from_cfg(SMALL, norm_form="gpu")  # type: ignore[arg-type]


def test_groups_convolve_their_own_channels() -> None:
    cfg = NET.replace("channels=3", "channels=6") + "[convolutional]\nfilters=4\nsize=3\npad=1\ngroups=2\n"
    model = with_random_weights(Darknet.from_cfg(cfg + "activation=linear\n"))
    layer = model.convolutions()[0][1].convolution
    assert layer.weight.shape == (4, 3, 3, 3)
    x = torch.rand(1, 6, 32, 32)
    parts = [functional.conv2d(x[:, 3 * g : 3 * g + 3], layer.weight[2 * g : 2 * g + 2], padding=1) for g in range(2)]
    assert layer.bias is not None
    expected = torch.cat(parts, 1) + layer.bias[:, None, None]
    torch.testing.assert_close(model(x)[0], expected, rtol=1e-5, atol=1e-5)


def test_route_can_take_a_group_of_the_channels() -> None:
    cfg = NET + convolution(8) + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
    model = Darknet.from_cfg(cfg).eval()
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(model(x)[0], model.layers[0](x)[:, 4:])


CROP = "[net]\nwidth=32\nheight=24\nchannels=3\n[crop]\ncrop_width=28\ncrop_height=18\nflip=1\n"


def test_crop_takes_the_middle_and_centres_the_values() -> None:
    x = torch.rand(2, 3, 24, 32)
    torch.testing.assert_close(Darknet.from_cfg(CROP).eval()(x)[0], 2 * x[..., 3:21, 2:30] - 1)
    torch.testing.assert_close(Darknet.from_cfg(CROP + "noadjust=1\n").eval()(x)[0], x[..., 3:21, 2:30])


def test_crop_moves_and_mirrors_in_training() -> None:
    torch.manual_seed(0)
    model = Darknet.from_cfg(CROP + "noadjust=1\n").train()
    x = torch.arange(24 * 32.0).reshape(1, 1, 24, 32).expand(1, 3, -1, -1)
    corners = {tuple(model(x)[0][0, 0, 0, [0, 1]].tolist()) for _ in range(40)}
    assert len(corners) > 10
    assert {second - first for first, second in corners} == {-1.0, 1.0}


def test_dropout_works_in_training_alone() -> None:
    model = Darknet.from_cfg(NET + convolution(4) + "[dropout]\nprobability=.5\n")
    image = torch.rand(1, 3, 32, 32)
    assert (model.train()(image)[0] == 0).sum() > 1000
    assert (model.eval()(image)[0] == 0).sum() < 1000


@pytest.mark.parametrize(
    ("options", "shape", "dimensions"),
    [("groups=2", (1, 2, 4, 32, 32), (2, 3, 4)), ("spatial=1", (1, 8, 32, 32), (1,))],
)
def test_softmax_within_a_network_normalises_as_darknet_does(
    options: str, shape: tuple[int, ...], dimensions: tuple[int, ...]
) -> None:
    cfg = NET + convolution(8) + f"[softmax]\n{options}\n" + convolution(4, 1)
    model = Darknet.from_cfg(cfg).eval()
    x = torch.randn(1, 8, 32, 32)
    sums = model.layers[1](x).reshape(shape).sum(dimensions)
    torch.testing.assert_close(sums, torch.ones_like(sums))
