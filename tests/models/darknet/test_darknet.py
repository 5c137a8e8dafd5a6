from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet import weights
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg, shipped_cfgs

from ..builders import NET, SMALL, convolution, with_random_weights

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
        ("yolov3-1class-416", 61_523_734, 246_305_388, 32.64, 75),
        ("residual-1class", 6_722_158, 26_929_356, 3.46, 29),
    ],
)
def test_sizes_of_the_shipped_networks(
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
    one_class = {"yolov2-seeds", "yolov2-voc-1class", "yolov3-1class", "yolov3-1class-416", "residual-1class"}
    assert set(shipped_cfgs()) == {"hitnet", *one_class}
    for name in one_class:
        heads = without_memory(name).heads
        assert heads and all(head.classes == 1 for head in heads)


def test_yolov3_at_416_is_yolov3_with_another_size() -> None:
    large, small = (without_memory(name).layer_table(416, 416) for name in ("yolov3-1class", "yolov3-1class-416"))
    assert large == small


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


@pytest.mark.parametrize("cfg", [shipped_cfg("hitnet"), SMALL, SHORTCUT])
def test_fused_network_equals_the_network(cfg: str) -> None:
    model = with_random_weights(Darknet.from_cfg(cfg)).double()
    image = torch.rand(2, model.in_channels, *model.input_size, dtype=torch.float64)
    with torch.no_grad():
        expected, found = model(image)[0], model.fused()(image)[0]
    assert (found - expected).abs().max() < 1e-10 * expected.abs().max()
    assert any(layer.norm is not None for _, layer in model.convolutions())


def test_other_input_sizes_give_other_grids() -> None:
    model = Darknet.from_cfg(SMALL).eval()
    assert [tuple(raw.shape) for raw in model(torch.rand(1, 3, 64, 48))] == [(1, 14, 32, 24)]


@pytest.mark.parametrize("shape", [(1, 3, 100, 64), (1, 3, 64, 100), (1, 1, 64, 64), (3, 64, 64), (0, 3, 64, 64)])
def test_inputs_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    model = without_memory("yolov3-1class")
    with pytest.raises(ModelError, match=r"Expected \(batch, 3, height, width\), height and width multiples of 32"):
        model(torch.zeros(shape))
    with pytest.raises(ModelError, match="multiples of 32"):
        model.gmac(100, 64)


def test_networks_of_an_impossible_size_are_refused() -> None:
    cfg = shipped_cfg("residual-1class").replace("width=416", "width=400")
    with pytest.raises(ModelError, match=r"width=400 of \[net\] at line 6.* Use a multiple of 32"):
        without_memory(cfg)


def test_strides_of_the_heads_are_pixels_of_a_cell() -> None:
    assert [head.stride for head in without_memory("yolov3-1class").heads] == [32, 16, 8]
    (head,) = without_memory("hitnet").heads
    assert (head.stride, head.extra_cells) == (32, (1, 1))


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


def test_outputs_nobody_reads_are_dropped() -> None:
    model = Darknet.from_cfg(shipped_cfg("hitnet"))
    assert all(len(model._release[index]) == 1 for index in range(1, len(model.layers) - 1))


def test_training_step_reaches_every_parameter() -> None:
    model = Darknet.from_cfg(SMALL).train()
    model(torch.rand(2, 3, 32, 32))[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
