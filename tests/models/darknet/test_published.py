"""The published networks: their files' sizes, and what OpenCV computes for them."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from photon_triage.models.darknet import weights
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg

from ..builders import thinned, with_random_weights
from . import published


def without_memory(cfg: str) -> Darknet:
    with torch.device("meta"):
        return Darknet.from_cfg(cfg)


@pytest.mark.parametrize(
    ("cfg", "file_bytes", "parameters"),
    [
        pytest.param(published.yolov2(608, 608), 203_934_264, 50_962_889, id="yolov2"),
        pytest.param(published.yolov2_tiny(416, 416, 512, 80), 44_948_600, 11_232_057, id="yolov2-tiny"),
        pytest.param(published.yolov2_tiny(416, 416, 1024, 20), 63_471_560, 15_861_773, id="yolov2-tiny-voc"),
        pytest.param(published.yolov3(608, 608), 248_007_048, 61_949_149, id="yolov3"),
        pytest.param(published.yolov3(608, 608, pyramid=True), 252_209_544, 62_998_749, id="yolov3-spp"),
        pytest.param(published.yolov3_tiny(416, 416), 35_434_956, 8_852_366, id="yolov3-tiny"),
        pytest.param(published.darknet19(256, 256), 83_427_124, 20_842_376, id="darknet19"),
        pytest.param(published.darknet53(256, 256), 166_582_580, 41_609_928, id="darknet53"),
    ],
)
def test_file_sizes_of_the_published_networks(cfg: str, file_bytes: int, parameters: int) -> None:
    """Those of yolov2 and yolov2-tiny-voc were written with the older header, which is four bytes shorter."""
    model = without_memory(cfg)
    assert weights.file_size(model.convolutions()) == file_bytes
    assert model.parameter_count() == parameters


@pytest.mark.parametrize(
    ("cfg", "cutoff", "file_bytes"),
    [
        pytest.param(published.darknet53(256, 256), 74, 162_482_580, id="darknet53.conv.74"),
        pytest.param(published.darknet19(448, 448), 23, 79_327_124, id="darknet19_448.conv.23"),
    ],
)
def test_file_sizes_of_the_published_first_layers(cfg: str, cutoff: int, file_bytes: int) -> None:
    assert weights.file_size(without_memory(cfg).convolutions(cutoff)) == file_bytes


def test_darknet53_gives_yolov3_its_first_52_convolutions(tmp_path: Path) -> None:
    """As `darknet53.conv.74` does for the whole network: the file ends where the head begins."""
    backbone = with_random_weights(Darknet.from_cfg(published.darknet53(64, 64, thin=16)))
    backbone.save_weights(tmp_path / "thin.conv.74", cutoff=74)
    network = Darknet.from_cfg(published.yolov3(64, 64, thin=16))
    report = network.load_weights(tmp_path / "thin.conv.74")
    assert (len(report.loaded), report.loaded[-1], len(report.missing), report.missing[0]) == (52, 73, 23, 75)


def opencvs_outputs(folder: Path, model: Darknet, image: torch.Tensor, names: list[str]) -> list[torch.Tensor]:
    (folder / "net.cfg").write_text(model.cfg)
    model.save_weights(folder / "net.weights")
    net = cv2.dnn.readNetFromDarknet(str(folder / "net.cfg"), str(folder / "net.weights"))
    net.setInput(image.numpy())
    return [torch.from_numpy(np.array(output)) for output in net.forward(names)]


def largest_difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """As a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.mark.parametrize(
    ("cfg", "outputs"),
    [
        pytest.param(thinned(shipped_cfg("yolov2-seeds"), 160, 96), ["conv_29"], id="yolov2-seeds"),
        pytest.param(thinned(shipped_cfg("yolov2-voc-1class"), 160, 96), ["conv_30"], id="yolov2-voc"),
        pytest.param(thinned(shipped_cfg("yolov3-1class"), 160, 96), ["conv_81", "conv_93", "conv_105"], id="yolov3"),
        pytest.param(thinned(shipped_cfg("residual-1class"), 160, 96), ["conv_38"], id="residual"),
        pytest.param(shipped_cfg("hitnet"), ["conv_15"], id="hitnet"),
        pytest.param(published.yolov2(128, 96, 80, 8), ["conv_30"], id="yolov2-coco"),
        pytest.param(published.yolov2_tiny(128, 96, 512, 80, 8), ["conv_14"], id="yolov2-tiny"),
        pytest.param(published.yolov3_tiny(128, 96, 80, 4), ["conv_15", "conv_22"], id="yolov3-tiny"),
        pytest.param(
            published.yolov3(128, 96, 80, 8, pyramid=True), ["conv_88", "conv_100", "conv_112"], id="yolov3-spp"
        ),
    ],
)
def test_raw_heads_equal_opencvs(tmp_path: Path, cfg: str, outputs: list[str]) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = with_random_weights(Darknet.from_cfg(cfg))
    image = torch.rand(1, model.in_channels, *model.input_size)
    expected = opencvs_outputs(tmp_path, model, image, outputs)
    with torch.inference_mode():
        found, folded = model(image), model.fused()(image)
    assert len(found) == len(expected)
    for ours, fused, theirs in zip(found, folded, expected, strict=True):
        assert largest_difference(ours, theirs) < 5e-5
        assert largest_difference(fused, theirs) < 5e-5


@pytest.mark.parametrize(
    ("cfg", "output"),
    [
        pytest.param(published.darknet19(64, 64, 50, 8), "softmax_25", id="darknet19"),
        pytest.param(published.darknet53(64, 64, 50, 8), "softmax_77", id="darknet53"),
    ],
)
def test_classifiers_equal_opencvs(tmp_path: Path, cfg: str, output: str) -> None:
    model = with_random_weights(Darknet.from_cfg(cfg))
    image = torch.rand(1, 3, 64, 64)
    (expected,) = opencvs_outputs(tmp_path, model, image, [output])
    with torch.inference_mode():
        (logits,) = model(image)
    assert largest_difference(torch.softmax(logits.flatten(), 0), expected.flatten()) < 5e-5


def test_classes_replace_those_of_a_classifier() -> None:
    model = Darknet.from_cfg(published.darknet19(64, 64, 1000, 16), classes=3)
    assert model(torch.rand(2, 3, 64, 64))[0].shape == (2, 3, 1, 1)
