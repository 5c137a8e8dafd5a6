"""Darknet's `.weights` files: a header, then the convolutions' numbers in cfg order."""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from photon_triage.models.errors import ModelError
from photon_triage.models.layers import Convolution

VERSION = (0, 2, 0)
"""The version written: from 0.2 on the number of images seen has 8 bytes, before 4."""

HEADER_BYTES = 20
"""Three int32 of the version and a uint64 of the images seen."""


@dataclass(frozen=True)
class WeightsReport:
    """What a `.weights` file held: its version, the images seen, and which layers were read or left as they were."""

    path: Path
    version: tuple[int, int, int]
    seen: int
    loaded: tuple[int, ...]
    missing: tuple[int, ...]
    unread_bytes: int

    def __str__(self) -> str:
        text = f"{self.path}: {len(self.loaded)} convolutions loaded, {self.seen} images seen"
        if self.missing:
            text += f"; not in the file: layers {', '.join(map(str, self.missing))}"
        return text + (f"; {self.unread_bytes} bytes not read" if self.unread_bytes else "")


def stored_tensors(layer: Convolution) -> list[Tensor]:
    """The tensors of a convolution in the file's order: biases, with batch-norm scales, means, variances; weights."""
    norm, convolution = layer.norm, layer.convolution
    if norm is None:
        if layer.is_folded or convolution.bias is None:
            raise ModelError(
                "Cannot read or write the weights of a fused network.", "Use the network it was made from."
            )
        return [convolution.bias, convolution.weight]
    assert norm.running_mean is not None and norm.running_var is not None
    return [norm.bias, norm.weight, norm.running_mean, norm.running_var, convolution.weight]


def file_size(layers: Sequence[tuple[int, Convolution]]) -> int:
    """Bytes of a `.weights` file of the layers."""
    return HEADER_BYTES + 4 * sum(tensor.numel() for _, layer in layers for tensor in stored_tensors(layer))


def load(path: Path, layers: Sequence[tuple[int, Convolution]], cutoff: int | None = None) -> WeightsReport:
    """Copy the numbers of the file into the numbered `layers`, those before `cutoff`; all is checked first."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}: {error.strerror or error}.", "Give a .weights file."
        ) from error
    version, seen, offset = _read_header(path, content)
    if (len(content) - offset) % 4:
        raise ModelError(f"Cannot read the weights {path}: {len(content)} bytes, the last number is cut.", _COPY_AGAIN)
    values = np.frombuffer(content, dtype="<f4", offset=offset)
    wanted = [(index, layer) for index, layer in layers if cutoff is None or index < cutoff]
    position = 0
    planned: list[tuple[int, Convolution]] = []
    for index, layer in wanted:
        if position == values.size:
            break
        needed = sum(tensor.numel() for tensor in stored_tensors(layer))
        if position + needed > values.size:
            raise ModelError(
                f"Cannot read the weights {path}: it ends within layer {index}, "
                f"{4 * (position + needed - values.size)} bytes short.",
                "The file is truncated, or of another network; a cutoff reads the layers that both share.",
            )
        planned.append((index, layer))
        position += needed
    unread = 4 * (values.size - position)
    if unread and cutoff is None:
        raise ModelError(
            f"Cannot read the weights {path}: {unread} bytes follow the network's last layer.",
            "The file is of another network; a cutoff reads the layers that both share.",
        )
    position = 0
    with torch.no_grad():
        for _, layer in planned:
            for tensor in stored_tensors(layer):
                part = values[position : position + tensor.numel()].astype(np.float32)
                tensor.copy_(torch.from_numpy(part).reshape(tensor.shape))
                position += tensor.numel()
    loaded = tuple(index for index, _ in planned)
    missing = tuple(index for index, _ in layers if index not in loaded)
    return WeightsReport(path, version, seen, loaded, missing, unread)


def save(path: Path, layers: Sequence[tuple[int, Convolution]], seen: int) -> None:
    """Write the layers' numbers; the file appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(struct.pack("<iiiQ", *VERSION, seen))
            for _, layer in layers:
                for tensor in stored_tensors(layer):
                    file.write(np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype="<f4").data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ModelError(f"Cannot write the weights {path}: {error.strerror or error}.", "Check the folder.") from error


_COPY_AGAIN = "Copy the file again."


def _read_header(path: Path, content: bytes) -> tuple[tuple[int, int, int], int, int]:
    """Version, images seen, and where the numbers begin."""
    try:
        major, minor, revision = struct.unpack_from("<iii", content)
        wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
        (seen,) = struct.unpack_from("<Q" if wide else "<i", content, 12)
    except struct.error:
        raise ModelError(f"Cannot read the weights {path}: no header in {len(content)} bytes.", _COPY_AGAIN) from None
    return (major, minor, revision), int(seen), HEADER_BYTES if wide else HEADER_BYTES - 4
