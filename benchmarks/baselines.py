"""What the networks are measured against: other programs, and the plain ways to write the same computation.

Each function returns what builds a case; the networks come as functions, so that a case makes its own when it is built.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import Build, Run, SkippedCase
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.unet import UNet, UNetConvolutionPair

OPENCV_HEADS = {"yolov2-seeds": ["conv_29"], "yolov3-1class": ["conv_81", "conv_93", "conv_105"]}
"""The layers of the raw heads, by OpenCV's names."""


def opencv(name: str, model: Callable[[], Darknet], image: Tensor) -> Build:
    """OpenCV's network from the same cfg and weights, on the CPU."""

    def build(folder: Path) -> Run:
        try:
            import cv2
        except ImportError:
            raise SkippedCase("opencv-python-headless<5 is not installed") from None
        if not hasattr(cv2.dnn, "readNetFromDarknet"):
            raise SkippedCase(f"OpenCV {cv2.__version__} does not read Darknet's files; versions below 5 do")
        cfg, weights = folder / f"{name}.cfg", folder / f"{name}.weights"
        if not weights.exists():
            cfg.write_text(model().cfg)
            model().save_weights(weights)
        cv2.setNumThreads(torch.get_num_threads())
        network = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
        pixels = image.numpy()

        def run() -> list[Any]:
            network.setInput(pixels)
            return list(network.forward(OPENCV_HEADS[name]))

        return run

    return build


def onnxruntime(name: str, model: Callable[[], Darknet], image: Tensor) -> Build:
    """The same network in onnxruntime, as torch exports it, on the CPU with as many threads as torch has."""

    def build(folder: Path) -> Run:
        try:
            import onnxruntime as runtime
            import onnxscript  # noqa: F401
        except ImportError as missing:
            raise SkippedCase(f"{missing.name} is not installed: pip install onnxruntime onnxscript") from None
        path = folder / f"{name}.onnx"
        if not path.exists():
            _export(model().fused(), image, path)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: image.numpy()}
        return lambda: session.run(None, feed)

    return build


def _export(model: nn.Module, image: Tensor, path: Path) -> None:
    """Write an ONNX file, without what the exporter has to say about itself."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (image,), str(path), dynamo=True, verbose=False)
    finally:
        logging.disable(previous)


def plain(model: Callable[[], nn.Module], batch: Tensor) -> Build:
    """The module as it is: batch-norm by itself, the usual memory format."""

    def build(folder: Path) -> Run:
        module = model().eval()

        @torch.inference_mode()
        def run() -> Any:
            return module(batch)

        return run

    return build


def patch_by_patch(
    model: Callable[[], LeNetPatch], side: int, frame: Tensor, together: int = 256, step: int = 1
) -> Build:
    """The classifier on batches of patches of `side` pixels, one for every position of every `step`-th row."""

    def build(folder: Path) -> Run:
        module = model()

        @torch.inference_mode()
        def run() -> Tensor:
            patches = frame[0].unfold(1, side, step).unfold(2, side, 1)
            rows, columns = patches.shape[1:3]
            scores = [
                module(patches[:, row, first : first + together].transpose(0, 1))
                for row in range(rows)
                for first in range(0, columns, together)
            ]
            return torch.cat(scores).T.reshape(1, -1, rows, columns)

        return run

    return build


Layers = Sequence[tuple[Tensor, Tensor, int]]
"""Weights (outputs, inputs, 3, 3), biases and dilation of each layer."""


def msd_by_concatenation(model: Callable[[], MSDNet], frames: Tensor) -> Build:
    """Layer by layer, each on a new concatenation of all maps so far."""

    def build(folder: Path) -> Run:
        network = model()
        layers = _layers(network)

        @torch.inference_mode()
        def run() -> Tensor:
            maps = frames
            for weight, bias, dilation in layers:
                maps = torch.cat([maps, _layer(maps, weight, bias, dilation)], dim=1)
            return _last(network, maps)

        return run

    return build


def msd_in_one_buffer(model: Callable[[], MSDNet], frames: Tensor) -> Build:
    """Layer by layer, each written behind the others into a buffer that has room for all maps."""

    def build(folder: Path) -> Run:
        network = model()
        layers = _layers(network)

        @torch.inference_mode()
        def run() -> Tensor:
            batch, known, height, width = frames.shape
            maps = frames.new_empty(batch, known + sum(len(bias) for _, bias, _ in layers), height, width)
            maps[:, :known] = frames
            for weight, bias, dilation in layers:
                maps[:, known : known + len(bias)] = _layer(maps[:, :known], weight, bias, dilation)
                known += len(bias)
            return _last(network, maps)

        return run

    return build


def plain_unet(model: Callable[[], UNet], frames: Tensor) -> Build:
    """A U-Net as it is usually written: convolution, ReLU, pool, up-convolution, torch.cat, usual memory format."""

    def build(folder: Path) -> Run:
        network = model()

        def pair(layers: nn.Module, maps: Tensor) -> Tensor:
            assert isinstance(layers, UNetConvolutionPair)
            for layer in (layers.first.convolution, layers.second.convolution):
                maps = functional.relu(functional.conv2d(maps, layer.weight, layer.bias, padding=1))
            return maps

        @torch.inference_mode()
        def run() -> Tensor:
            maps: Tensor = frames
            skips: list[Tensor] = []
            for layers in network.down:
                maps = pair(layers, maps if not skips else functional.max_pool2d(maps, 2))
                skips.append(maps)
            skips.pop()
            for enlarge, layers in zip(network.enlarge, network.up, strict=True):
                maps = pair(layers, torch.cat([skips.pop(), enlarge(maps)], dim=1))
            output: Tensor = network.final(maps)
            return output

        return run

    return build


def _layers(network: MSDNet) -> Layers:
    weights = [weight.detach() for weight in network.layer_weights()]
    biases = network.biases.detach().reshape(len(weights), -1)
    return list(zip(weights, biases, network.layout.dilations, strict=True))


def _layer(maps: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
    padded = functional.pad(maps, (dilation,) * 4, mode="reflect")
    return functional.conv2d(padded, weight, bias, dilation=dilation).relu_()


def _last(network: MSDNet, maps: Tensor) -> Tensor:
    weight = network.final_weight.detach()
    return functional.conv2d(maps, weight[:, :, None, None], network.final_bias.detach())
