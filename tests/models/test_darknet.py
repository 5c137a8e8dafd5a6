from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from photon_triage.models import weights
from photon_triage.models.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.layers import MaxPool, Reorg

from .builders import NET, SMALL, convolution, thinned, with_random_weights

SHORTCUT = NET + convolution(4) + convolution(4) + "[shortcut]\nfrom=-2\nactivation=linear\n"


def without_memory(cfg: str, in_channels: int | None = None, classes: int | None = None) -> Darknet:
    """The network with tensors that have a shape but no numbers."""
    with torch.device("meta"):
        return Darknet.from_cfg(cfg, in_channels, classes)


@pytest.mark.parametrize(
    ("name", "parameters", "file_bytes", "gmac", "convolutions"),
    [
        ("yolov2-seeds", 67_040_190, 268_242_956, 17.43, 22),
        ("yolov2-voc-1class", 50_558_014, 202_314_764, 14.66, 23),
        ("yolov3-1class", 61_523_734, 246_305_388, 69.73, 75),
    ],
)
def test_size_of_the_published_networks(
    name: str, parameters: int, file_bytes: int, gmac: float, convolutions: int
) -> None:
    model = without_memory(shipped_cfg(name))
    assert model.parameter_count() == parameters
    assert weights.file_size(model.convolutions()) == file_bytes
    assert round(model.gmac(), 2) == gmac
    assert len(model.convolutions()) == convolutions


def test_twenty_classes_give_the_published_voc_network() -> None:
    model = without_memory(shipped_cfg("yolov2-voc-1class"), classes=20)
    assert model.heads[0].channels == 125
    assert model.layer_table()[-2].filters == 125


def test_every_shipped_cfg_builds() -> None:
    assert set(shipped_cfgs()) == {"hitnet", "yolov2-seeds", "yolov2-voc-1class", "yolov3-1class"}
    assert all(without_memory(shipped_cfg(name)).heads for name in shipped_cfgs())


def test_hitnet_is_small_and_has_a_cell_in_the_middle() -> None:
    model = without_memory(shipped_cfg("hitnet"))
    assert 400_000 < model.parameter_count() < 1_200_000
    assert 0.1 < model.gmac() < 0.2
    assert model.layer_table()[-1].output_shape == (20, 5, 9)
    assert (model.input_size, model.in_channels) == ((128, 256), 1)


def test_layer_table_of_the_seeds_network() -> None:
    rows = without_memory(shipped_cfg("yolov2-seeds")).layer_table()
    assert (rows[25].sources, rows[26].input_shape, rows[26].output_shape) == ((16,), (512, 26, 26), (2048, 13, 13))
    assert rows[27].output_shape == (3072, 13, 13)
    assert str(rows[0]) == "   0 convolutional    32     3x3/1  416 x 416 x    3 ->  416 x 416 x   32    0.299 BFLOPs"


def opencvs_heads(folder: Path, model: Darknet, image: torch.Tensor, names: list[str]) -> list[torch.Tensor]:
    """OpenCV's raw heads; the model takes its batch-norm's epsilon, sqrt(v + 1e-6), which moves the heads by 1e-4."""
    for _, layer in model.convolutions():
        if layer.norm is not None:
            layer.norm.eps = 1e-6
    (folder / "net.cfg").write_text(model.cfg)
    model.save_weights(folder / "net.weights")
    net = cv2.dnn.readNetFromDarknet(str(folder / "net.cfg"), str(folder / "net.weights"))
    net.setInput(image.numpy())
    return [torch.from_numpy(np.array(output)) for output in net.forward(names)]


@pytest.mark.parametrize(
    ("cfg", "outputs"),
    [
        pytest.param(shipped_cfg("yolov2-seeds"), ["conv_29"], id="yolov2-seeds"),
        pytest.param(shipped_cfg("hitnet"), ["conv_15"], id="hitnet"),
        pytest.param(thinned(shipped_cfg("yolov2-voc-1class"), 160, 96), ["conv_30"], id="thin-yolov2-voc"),
        pytest.param(
            thinned(shipped_cfg("yolov3-1class"), 160, 96), ["conv_81", "conv_93", "conv_105"], id="thin-yolov3"
        ),
    ],
)
def test_raw_heads_equal_opencvs(tmp_path: Path, cfg: str, outputs: list[str]) -> None:
    torch.manual_seed(0)
    model = with_random_weights(Darknet.from_cfg(cfg))
    image = torch.rand(1, model.in_channels, *model.input_size)
    expected = opencvs_heads(tmp_path, model, image, outputs)
    with torch.inference_mode():
        found = model(image)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 5e-5 * theirs.abs().max()


def test_small_three_headed_network_equals_opencv(tmp_path: Path) -> None:
    """The layers of YOLOv3, its tiny and its spp form: shortcuts, upsampling, pools of stride 1, several heads."""
    yolo = "[yolo]\nmask={}\nanchors=10,13, 16,30, 33,23\nclasses=1\nnum=3\nignore_thresh=.5\ntruth_thresh=1\n"
    pools = "".join(
        f"[maxpool]\nstride=1\nsize={size}\n" + ("[route]\nlayers=-2\n" if size < 9 else "") for size in (2, 5, 9)
    )
    cfg = (
        "[net]\nwidth=64\nheight=32\nchannels=3\n"
        + convolution(8)
        + convolution(16).replace("stride=1", "stride=2")
        + convolution(8, 1)
        + convolution(16)
        + "[shortcut]\nfrom=-3\nactivation=linear\n"
        + "[maxpool]\nsize=2\nstride=2\n"
        + pools
        + "[route]\nlayers=-1,-3,-5,-6\n"
        + convolution(12, 1, normalize=False, activation="linear")
        + yolo.format("1,2")
        + "[route]\nlayers=-3\n"
        + "[upsample]\nstride=2\n"
        + "[route]\nlayers=-1,4\n"
        + convolution(6, 1, normalize=False, activation="linear")
        + yolo.format("0")
    )
    model = with_random_weights(Darknet.from_cfg(cfg))
    last = [row.index for row in model.layer_table() if row.kind == "convolutional"][-2:]
    image = torch.rand(1, 3, 32, 64)
    expected = opencvs_heads(tmp_path, model, image, [f"conv_{index}" for index in last])
    with torch.inference_mode():
        found = model(image)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


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


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 5), st.integers(5, 12), st.integers(5, 12))
def test_maxpool_equals_darknets_windows(size: int, stride: int, padding: int, height: int, width: int) -> None:
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


@pytest.mark.parametrize("cfg", [shipped_cfg("hitnet"), SMALL, SHORTCUT])
def test_fused_network_equals_the_network(cfg: str) -> None:
    model = with_random_weights(Darknet.from_cfg(cfg))
    image = torch.rand(2, model.in_channels, *model.input_size)
    with torch.no_grad():
        expected, found = model(image)[0], model.fused()(image)[0]
    assert (found - expected).abs().max() < 2e-6 * expected.abs().max() + 2e-6
    assert any(layer.norm is not None for _, layer in model.convolutions())


def test_other_input_sizes_give_other_grids() -> None:
    model = Darknet.from_cfg(SMALL).eval()
    assert [tuple(raw.shape) for raw in model(torch.rand(1, 3, 64, 48))] == [(1, 14, 32, 24)]


def test_grey_input_replaces_the_cfgs_channels() -> None:
    model = Darknet.from_cfg(SMALL, in_channels=1, classes=5)
    assert model(torch.rand(2, 1, 32, 32))[0].shape == (2, 20, 16, 16)


def test_classifier_returns_what_its_softmax_would_read() -> None:
    cfg = NET + convolution(10, 1, normalize=False, activation="linear") + "[avgpool]\n[softmax]\ngroups=1\n"
    model = Darknet.from_cfg(cfg)
    image = torch.rand(3, 3, 32, 32)
    convolved = functional.conv2d(image, *_weight_and_bias(model))
    torch.testing.assert_close(model(image)[0], convolved.mean((2, 3), keepdim=True))


def _weight_and_bias(model: Darknet) -> tuple[torch.Tensor, torch.Tensor | None]:
    layer = model.convolutions()[0][1].convolution
    return layer.weight, layer.bias


def test_dropout_works_in_training_alone() -> None:
    model = Darknet.from_cfg(SHORTCUT + "[dropout]\nprobability=.5\n")
    image = torch.rand(1, 3, 32, 32)
    assert (model.train()(image)[0] == 0).sum() > 1000
    assert (model.eval()(image)[0] == 0).sum() < 1000


def test_outputs_nobody_reads_are_dropped() -> None:
    model = Darknet.from_cfg(shipped_cfg("hitnet"))
    assert all(len(model._release[index]) == 1 for index in range(1, len(model.layers) - 1))


def test_training_step_reaches_every_parameter() -> None:
    model = Darknet.from_cfg(SMALL).train()
    model(torch.rand(2, 3, 32, 32))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
