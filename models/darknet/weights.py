"""Darknet's `.weights` files: a header, then the convolutions' numbers in cfg order."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.input_files import read_regular
from photon_triage.models.common.limits import LARGEST_NETWORK
from photon_triage.models.common.output_files import atomic_path
from photon_triage.models.darknet.layers import Convolution

VERSION = (0, 2, 0)
"""The version written: from 0.2 on the number of images seen has 8 bytes, before 4."""

HEADER_BYTES = 20
"""Three int32 of the version and a uint64 of the images seen."""

MOST_SEEN = 10**15
"""More images than any network was trained on; what says more is another kind of file."""

Layers = Sequence[tuple[int, Convolution]]
"""Convolutions with their layer numbers, in cfg order."""


@dataclass(frozen=True)
class Channels:
    """Input channels: of the network, of its cfg, and, where somebody said so, of the network that wrote the file."""

    network: int
    cfg: int
    file: int | None = None


@dataclass(frozen=True)
class WeightsReport:
    """What a `.weights` file held: its version, the images seen, and which layers were read or left as they were.

    `file_channels` are the input channels that it was written for, `in_channels` those of the network; where they
    differ, the first convolution's weights were converted. `header` tells where the file's header is not what its
    version says.
    """

    path: Path
    version: tuple[int, int, int]
    seen: int
    loaded: tuple[int, ...]
    missing: tuple[int, ...]
    unread_bytes: int
    file_channels: int
    in_channels: int
    header: str = ""

    def __str__(self) -> str:
        text = f"{self.path}: {len(self.loaded)} convolutions loaded, {self.seen} images seen"
        if self.missing:
            text += f"; not in the file: layers {', '.join(map(str, self.missing))}"
        if self.file_channels > self.in_channels:
            text += f"; the first convolution's {self.file_channels} input channels were added into one"
        if self.file_channels < self.in_channels:
            text += f"; the first convolution's input channel was spread evenly over {self.in_channels}"
        if self.header:
            text += f"; {self.header}"
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


def file_size(layers: Layers) -> int:
    """Bytes of a `.weights` file of the layers."""
    return HEADER_BYTES + 4 * sum(tensor.numel() for _, layer in layers for tensor in stored_tensors(layer))


def first_layers(layers: Layers, cutoff: int | None) -> list[tuple[int, Convolution]]:
    """Those of the layers 0 to `cutoff` - 1, or all; raises ModelError for a cutoff that leaves none to ask for."""
    if cutoff is not None and cutoff < 1:
        raise ModelError(f"Cannot take the first {cutoff} layers.", "Allowed: a cutoff of 1 and above.")
    return [(index, layer) for index, layer in layers if cutoff is None or index < cutoff]


def load(path: Path, layers: Layers, channels: Channels, cutoff: int | None = None) -> WeightsReport:
    """Copy the numbers of the file into the numbered `layers`, those before `cutoff`; all is checked first.

    Raises ModelError, with the layer's number, for files that are too short, too long or another network's.
    """
    try:
        content = read_regular(path, HEADER_BYTES + 4 * LARGEST_NETWORK)
    except OSError as error:
        raise ModelError(
            f"Cannot read the weights {path}: {error.strerror or error}.", "Give a .weights file."
        ) from error
    wanted = first_layers(layers, cutoff)
    header, found = _read_any(path, content, wanted, channels, is_whole=cutoff is None)
    with torch.no_grad():
        for tensor, values in found.values:
            tensor.copy_(torch.from_numpy(values.astype(np.float32)).reshape(tensor.shape))
    missing = tuple(index for index, _ in layers if index not in found.loaded)
    return WeightsReport(
        path,
        header.version,
        header.seen,
        found.loaded,
        missing,
        found.unread_bytes,
        found.file_channels,
        channels.network,
        header.note,
    )


def save(path: Path, layers: Layers, seen: int) -> None:
    """Write the layers' numbers; the file appears whole or not at all. Raises ModelError where it cannot."""
    try:
        with atomic_path(path) as partial, partial.open("xb") as file:
            file.write(struct.pack("<iiiQ", *VERSION, seen))
            for _, layer in layers:
                for tensor in stored_tensors(layer):
                    file.write(np.ascontiguousarray(tensor.detach().cpu().float().numpy(), dtype="<f4").data)
    except OSError as error:
        raise ModelError(f"Cannot write the weights {path}: {error.strerror or error}.", "Check the folder.") from error


@dataclass(frozen=True)
class _Header:
    """A file's version, images seen, and bytes; `note` where these are not what the version says."""

    version: tuple[int, int, int]
    seen: int
    size: int
    note: str = ""


@dataclass(frozen=True)
class _File:
    """A file's bytes, where its numbers begin, and whether they must end with the network."""

    path: Path
    content: bytes
    begin: int
    is_whole: bool


@dataclass(frozen=True)
class _Found:
    """What a file holds when it is read as one of a network with `file_channels` input channels."""

    file_channels: int
    loaded: tuple[int, ...]
    values: list[tuple[Tensor, NDArray[np.float32]]]
    unread_bytes: int


_OTHER_NETWORK = "The file is of another network; a cutoff reads the layers that both share."


def _choose(file: _File, layers: Layers, channels: Channels) -> _Found:
    """The file's numbers for this network's input, or for another's if only that fits.

    A file that fits both ways (few layers, or a cutoff, which makes its size say nothing) is taken as it is when the
    network has its cfg's channels; otherwise nobody can know, and the caller must say.
    """
    if channels.file is not None:
        return _read(file, layers, channels.network, channels.file)
    others = {1, 3, channels.cfg} - {channels.network}
    readings = [_attempt(file, layers, channels.network, count) for count in (channels.network, *sorted(others))]
    fitting = [reading for reading in readings if isinstance(reading, _Found)]
    if not fitting:
        assert isinstance(readings[0], ModelError)
        raise readings[0]
    as_it_is = isinstance(readings[0], _Found) and not file.is_whole and channels.network == channels.cfg
    if len(fitting) > 1 and not as_it_is:
        counts = " and ".join(str(reading.file_channels) for reading in fitting)
        raise ModelError(
            f"Cannot read the weights {file.path}: it fits networks of {counts} input channels alike.",
            "Say which it is with file_channels.",
        )
    return fitting[0]


def _attempt(file: _File, layers: Layers, in_channels: int, file_channels: int) -> _Found | ModelError:
    try:
        return _read(file, layers, in_channels, file_channels)
    except ModelError as error:
        return error


def _read(file: _File, layers: Layers, in_channels: int, file_channels: int) -> _Found:
    """The numbers of each layer, converted from `file_channels` to `in_channels`; raises ModelError with the layer."""
    position, end = file.begin, len(file.content)
    loaded: list[int] = []
    values: list[tuple[Tensor, NDArray[np.float32]]] = []
    for index, layer in layers:
        if position == end and loaded:
            break
        tensors = stored_tensors(layer)
        stored = [tuple(tensor.shape) for tensor in tensors]
        if not loaded and file_channels != in_channels:
            stored[-1] = _stored_elsewhere(file.path, layer, in_channels, file_channels)
        missing = position + 4 * sum(map(_numel, stored)) - end
        if missing > 0:
            raise ModelError(
                f"Cannot read the weights {file.path}: it ends within layer {index}, {missing} bytes short.",
                "The file is truncated, or of another network; a cutoff reads the layers that both share.",
            )
        for tensor, shape in zip(tensors, stored, strict=True):
            part = np.frombuffer(file.content, dtype="<f4", count=_numel(shape), offset=position)
            position += part.nbytes
            _require_plausible(file.path, index, part, is_variance=layer.norm is not None and tensor is tensors[3])
            values.append((tensor, _converted(part.reshape(shape), tuple(tensor.shape))))
        loaded.append(index)
    if file.is_whole and position < end:
        raise ModelError(
            f"Cannot read the weights {file.path}: {end - position} bytes follow layer {loaded[-1]}, "
            f"the network's last convolution.",
            _OTHER_NETWORK,
        )
    return _Found(file_channels, tuple(loaded), values, end - position)


def _stored_elsewhere(path: Path, layer: Convolution, in_channels: int, file_channels: int) -> tuple[int, ...]:
    """The shape of the first convolution's weights in a file of a network with other input channels."""
    filters, channels, *kernel = layer.convolution.weight.shape
    if 1 not in (in_channels, file_channels) or layer.convolution.groups > 1 or channels != in_channels:
        raise ModelError(
            f"Cannot read the weights {path} of {file_channels} input channels into a network of {in_channels}.",
            "Only one channel can become several, or several one, and only in a convolution without groups.",
        )
    return (filters, file_channels, *kernel)


def _converted(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights (filters, channels, k, k) with their channels added into one, or one channel spread over several."""
    if values.shape == shape:
        return values
    total = values.sum(axis=1, keepdims=True, dtype=np.float64) / shape[1]
    return np.broadcast_to(total, shape).astype(np.float32)


def _require_plausible(path: Path, index: int, values: NDArray[np.float32], is_variance: bool) -> None:
    if not np.isfinite(values).all():
        raise ModelError(f"Cannot read the weights {path}: layer {index} has numbers that are not finite.", _OTHER_FILE)
    if is_variance and (values < 0).any():
        raise ModelError(f"Cannot read the weights {path}: layer {index} has negative variances.", _OTHER_FILE)


_OTHER_FILE = "The file is damaged, or of another network; a cutoff reads the layers that both share."


def _numel(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _read_any(
    path: Path, content: bytes, layers: Layers, channels: Channels, *, is_whole: bool
) -> tuple[_Header, _Found]:
    """The header and the numbers behind it.

    The version says how long the header is, but not to all alike: a program of 32 bits wrote 4 bytes of images seen
    where the version promises 8, and for versions from 1000 on Darknet's own versions differ. So a file that does not
    end with a layer behind the header of its version is read behind the other one, if that fits. With a cutoff the
    size says nothing, and the version decides alone.
    """
    headers = _headers(path, content)
    first, *others = headers
    expected = _attempt_header(path, content, layers, channels, first, is_whole)
    if isinstance(expected, _Found):
        return first, expected
    for header in others if is_whole else ():
        found = _attempt_header(path, content, layers, channels, header, is_whole)
        if isinstance(found, _Found):
            return header, found
    raise expected


def _attempt_header(
    path: Path, content: bytes, layers: Layers, channels: Channels, header: _Header, is_whole: bool
) -> _Found | ModelError:
    if (refusal := _implausible(path, header)) is not None:
        return refusal
    try:
        return _choose(_File(path, content, header.size, is_whole), layers, channels)
    except ModelError as error:
        return error


MOST_VERSION = 100_000
"""Versions from 1000 on mark transposed fully connected layers; what says more is another kind of file."""

TRANSPOSED = 1000
"""Of versions above, Darknet transposes the weights of fully connected layers, which no network here has."""


def _headers(path: Path, content: bytes) -> list[_Header]:
    """The headers that a file can have, that of its version first; raises ModelError for fewer bytes than one."""
    try:
        major, minor, revision = struct.unpack_from("<iii", content)
        narrow = struct.unpack_from("<i", content, 12)[0]
        wide = struct.unpack_from("<Q", content, 12)[0] if len(content) >= HEADER_BYTES else None
    except struct.error:
        raise ModelError(
            f"Cannot read the weights {path}: failed before layer 0, {len(content)} bytes hold no header.",
            "Copy the file again.",
        ) from None
    version = (major, minor, revision)
    name = f"version {major}.{minor}.{revision}"
    is_wide = major * 10 + minor >= 2 and max(major, minor) < TRANSPOSED
    sizes = [(HEADER_BYTES - 4, narrow), *([] if wide is None else [(HEADER_BYTES, wide)])]
    headers = [
        _Header(
            version,
            seen,
            size,
            "" if (size == HEADER_BYTES) == is_wide else f"its header has {size} bytes, which is not that of {name}",
        )
        for size, seen in sizes
    ]
    return sorted(headers, key=lambda header: bool(header.note))


def _implausible(path: Path, header: _Header) -> ModelError | None:
    major, minor, revision = header.version
    if all(0 <= number < MOST_VERSION for number in header.version) and 0 <= header.seen < MOST_SEEN:
        return None
    return ModelError(
        f"Cannot read the weights {path}: failed before layer 0, its header says version "
        f"{major}.{minor}.{revision} and {header.seen} images.",
        "Give a .weights file of Darknet.",
    )
