"""ONNX files, and the proof that they compute what the network computes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.output_files import atomic_path
from photon_triage.models.msd import MSDNet

INSTALL_HINT = 'Install them: pip install "photon-triage[onnx]".'

LARGEST_DIFFERENCE = 1e-4
"""As a share of an output's largest value: what rounding in another order explains."""

EXAMPLES, CHECKED = 2, 3
"""Frames that are traced, and other ones that are compared: so that a batch size that got stuck is noticed."""


class PlainMSD(nn.Module):
    """An MS-D network as in the paper: every layer convolves all maps before it, put together."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: MSDNet) -> None:
        super().__init__()
        self.dilations = tuple(model.layout.dilations)
        weights = [weight.detach().clone() for weight in model.layer_weights()]
        self.weights = nn.ParameterList(nn.Parameter(weight, requires_grad=False) for weight in weights)
        biases = torch.split(model.biases.detach().clone(), model.width)
        self.biases = nn.ParameterList(nn.Parameter(bias, requires_grad=False) for bias in biases)
        self.final_weight = nn.Parameter(model.final_weight.detach()[:, :, None, None].clone(), requires_grad=False)
        self.final_bias = nn.Parameter(model.final_bias.detach().clone(), requires_grad=False)
        self.register_buffer("mean", model.input_mean[:, None, None].clone())
        self.register_buffer("deviation", model.input_deviation[:, None, None].clone())

    def forward(self, frames: Tensor) -> Tensor:
        """(batch, in_channels, height, width) to (batch, out_channels, height, width)."""
        maps = (frames - self.mean) / self.deviation
        for weight, bias, dilation in zip(self.weights, self.biases, self.dilations, strict=True):
            padded = functional.pad(maps, (dilation,) * 4, mode="reflect")
            maps = torch.cat([maps, functional.conv2d(padded, weight, bias, dilation=dilation).relu()], dim=1)
        return functional.conv2d(maps, self.final_weight, self.final_bias)


def plain_form(model: nn.Module) -> nn.Module:
    """The model for inference in operations that other programs know too: in evaluation mode, batch-norm folded in."""
    if isinstance(model, MSDNet):
        return PlainMSD(model).eval()
    fuse = getattr(model, "fused", None)
    twin: nn.Module = model if fuse is None else fuse()
    return twin.eval()


@dataclass(frozen=True)
class OnnxReport:
    """What was written. difference: the largest to the network, as a share of an output's largest; None unchecked."""

    path: Path
    bytes: int
    difference: float | None


def export_onnx(
    model: nn.Module, path: str | Path, input_shape: tuple[int, ...], metadata: Mapping[str, Any]
) -> OnnxReport:
    """Write the network as an ONNX file for inputs (batch, *input_shape), float32, any batch.

    The outputs are the raw ones. `metadata` (JSON) stand in the file under photon_triage. Where onnxruntime is
    installed the file is run beside the network first. The file appears whole or not at all. Raises ModelError where
    packages are missing, where the network cannot be exported, and where the results differ.
    """
    target = Path(path)
    missing = [name for name in ("onnx", "onnxscript") if not _is_installed(name)]
    if missing:
        raise ModelError(f"Cannot export to {target}: {' and '.join(missing)} are not installed.", INSTALL_HINT)
    network = plain_form(model)
    program = _translated(network, torch.rand(EXAMPLES, *input_shape), target)
    program.model.metadata_props["photon_triage"] = json.dumps(dict(metadata), ensure_ascii=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(target) as partial:
            program.save(partial, external_data=False)
            difference = _difference(network, partial, torch.rand(CHECKED, *input_shape))
            if difference is not None and not difference <= LARGEST_DIFFERENCE:
                raise ModelError(
                    f"Cannot export to {target}: onnxruntime's results differ by {difference:.1e} of the largest one.",
                    f"Allowed: {LARGEST_DIFFERENCE:.0e}. Nothing was written; please report it with the model.",
                )
    except OSError as error:
        raise ModelError(f"Cannot write {target}: {error.strerror or error}.", "Check the folder.") from error
    return OnnxReport(target, target.stat().st_size, difference)


def _translated(network: nn.Module, example: Tensor, target: Path) -> torch.onnx.ONNXProgram:
    with torch.no_grad():
        outputs = network(example)
    count = 1 if isinstance(outputs, Tensor) else len(outputs)
    names = ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["frames"],
                output_names=names,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            )
    except Exception as error:
        # The exporter's steps each have errors of their own, of no common kind.
        cause = error.__cause__ or error
        reason = str(cause).strip().partition("\n")[0]
        raise ModelError(f"Cannot export to {target}: {type(cause).__name__}: {reason}") from error
    assert program is not None
    return program


def _difference(network: nn.Module, path: Path, frames: Tensor) -> float | None:
    """The largest difference between the file's outputs and the network's, relative to each output's largest value."""
    if not _is_installed("onnxruntime"):
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"frames": frames.numpy()})
    with torch.no_grad():
        outputs = network(frames)
    expected = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    worst = 0.0
    for ours, theirs in zip(expected, found, strict=True):
        apart = float((ours - torch.from_numpy(theirs)).abs().max())
        worst = max(worst, apart / float(ours.abs().max()) if apart else 0.0)
    return worst


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own insides from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
