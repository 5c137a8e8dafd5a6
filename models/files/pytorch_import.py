"""Weights that others saved: PyTorch's .pt and .pth read without running their code, and bare .safetensors."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from photon_triage.models.common.checkpoint import described, load_state
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.input_files import RefusedError, open_regular, refused, require_modest, require_size
from photon_triage.models.common.limits import LARGEST_FILE, require_numbers

NESTS = ("state_dict", "model_state_dict", "model", "network", "net", "weights", "params")
"""The keys under which training scripts keep the tensors."""

MOST_STEPS = 2**21
"""Bytes, and so steps, of a pickle: a checkpoint of a thousand tensors and its optimiser has a tenth of that."""

HIGHEST_RATIO = 10
"""Unpacked bytes for each packed one; PyTorch does not pack."""

WRAPPERS = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and Lightning put before the names."""


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a .pt, .pth or .safetensors file by name, on the CPU.

    A pickle is read with weights_only=True: what is not plain data is refused, and no code of the file runs. Wrapping
    keys and prefixes are taken off. Raises ModelError.
    """
    source = Path(path)
    loaded = _read_safetensors(source) if source.suffix.lower() == ".safetensors" else _read_pickle(source)
    if not isinstance(loaded, Mapping):
        raise ModelError(f"Cannot import {source}: it holds a {type(loaded).__name__}, no tensors by name.", _SAVE_HINT)
    for key in NESTS:
        if isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"Cannot import {source}: it holds no tensors.", _SAVE_HINT)
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def fit_tensors(model: nn.Module, tensors: Mapping[str, Tensor], source: str, *, by_order: bool = False) -> list[str]:
    """Copy `tensors` into `model`; returns the buffers that were not among them and stay as built.

    by_order: the first tensor for the model's first, and so on, whatever their names; their shapes must agree. Raises
    ModelError with the tensors that do not fit, and copies nothing then.
    """
    own = model.state_dict()
    buffers = {name for name, _ in model.named_buffers()}
    if by_order:
        targets = list(own) if len(tensors) == len(own) else [name for name in own if name not in buffers]
        if len(tensors) != len(targets):
            raise ModelError(
                f"Cannot import {source} by order: it has {len(tensors)} tensors, the network {len(targets)}.",
                "Import it by names, or choose the options of the network that was saved.",
            )
        tensors = dict(zip(targets, tensors.values(), strict=True))
    kept = [name for name in own if name in buffers and name not in tensors]
    load_state(model, {**{name: own[name] for name in kept}, **tensors}, source)
    return kept


_SAVE_HINT = "Expected what torch.save(model.state_dict(), path) writes."


def _read_safetensors(source: Path) -> dict[str, Tensor]:
    try:
        with open(open_regular(source), "rb") as file:  # noqa: PTH123 - a descriptor has no path
            require_size(file.fileno(), source, LARGEST_FILE)
        require_numbers(sum(tensor.numel() for tensor in described(source).values()), f"a network of {source}")
        return load_file(source)
    except (OSError, SafetensorError, MemoryError) as error:
        reason = error.strerror if isinstance(error, RefusedError) else error
        raise ModelError(f"Cannot import {source}: {reason}.", "Copy the file again.") from error


def _require_plain_archive(file: BinaryIO, source: Path) -> None:
    """Raise RefusedError for an archive that is packed beyond what PyTorch writes, or whose pickle is a large one."""
    require_modest(file, LARGEST_FILE, HIGHEST_RATIO)
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        longest = max((entry.file_size for entry in entries if entry.filename.endswith(".pkl")), default=0)
        if longest > MOST_STEPS:
            raise refused(source, f"its pickle has {longest:,} bytes, at most {MOST_STEPS:,} are read")
    file.seek(0)


class BoundedPickleFile(io.BufferedIOBase):
    """A file of PyTorch's older format, that ends where its pickle takes more steps than tensors need."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, MOST_STEPS

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; raises ValueError after too many calls."""
        self._count()
        return self._file.read(-1 if size is None else size)

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer."""
        self._count()
        return int(self._file.readinto(buffer))  # type: ignore[attr-defined]

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line; raises ValueError after too many calls."""
        self._count()
        return self._file.readline(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """As the file's."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As the file's."""
        return self._file.tell()

    def seekable(self) -> bool:
        """Always."""
        return True

    def readable(self) -> bool:
        """Always."""
        return True

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("it takes too many steps")


def _read_pickle(source: Path) -> object:
    try:
        with open(open_regular(source), "rb") as file:  # noqa: PTH123 - a descriptor has no path
            require_size(file.fileno(), source, LARGEST_FILE)
            _require_plain_archive(file, source)
            is_archive = zipfile.is_zipfile(file)
            file.seek(0)
            source_file: Any = file if is_archive else BoundedPickleFile(file)
            return torch.load(source_file, map_location="cpu", weights_only=True)
    except RefusedError as error:
        raise ModelError(f"Cannot import {source}: {error.strerror}.", _SAVE_HINT) from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"Cannot import {source}: it holds more than tensors and plain values, and reading that could run code.",
            f"Ask who made it for the tensors alone. {_SAVE_HINT}",
        ) from error
    except OSError as error:
        raise ModelError(f"Cannot import {source}: {error.strerror or error}.", "Give a .pt or .pth file.") from error
    except MemoryError as error:
        raise ModelError(f"Cannot import {source}: it asks for more memory than there is.", _SAVE_HINT) from error
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ModelError(f"Cannot import {source}: it is damaged, or no file of PyTorch's.", _SAVE_HINT) from error
