"""The virtual powder of a session: mean and maximum of all hits and of all misses, written by the engine alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import parse_json, require_regular
from photon_triage.core.common.errors import SessionError

FILE = "powder.safetensors"
KINDS = ("hits", "misses")
LARGEST = 2**31
"""Bytes: of a detector of 64 megapixels."""


@dataclass(frozen=True, eq=False)
class PowderSum:
    """Frames added up: how many, their sum (height, width) float64 and their maximum (height, width) float32."""

    n: int
    sum: NDArray[np.float64]
    max: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        """(height, width) float32; 0 where there is no frame."""
        mean: NDArray[np.float32] = (self.sum / max(self.n, 1)).astype(np.float32)
        return mean


@dataclass(frozen=True, eq=False)
class Powder:
    """What hits and misses of frames of one shape look like together, in counts.

    valid: (height, width) bool, pixels that were read and are not masked. simulated: whether a frame of it was made up.
    """

    hits: PowderSum
    misses: PowderSum
    valid: NDArray[np.bool_]
    simulated: bool = False

    @property
    def difference(self) -> NDArray[np.float32]:
        """Mean of the hits less that of the misses, (height, width) float32."""
        return self.hits.mean - self.misses.mean


def empty_powder(shape: tuple[int, int]) -> Powder:
    """No frames yet."""
    nothing = [PowderSum(0, np.zeros(shape), np.zeros(shape, np.float32)) for _ in KINDS]
    return Powder(nothing[0], nothing[1], np.zeros(shape, np.bool_))


def write_powder(folder: Path, powder: Powder) -> None:
    """Put a powder in place of the one in a session's folder, whole or not at all. Raises OSError."""
    from safetensors.numpy import save

    arrays: dict[str, NDArray[Any]] = {"valid": powder.valid.astype(np.uint8)}
    for kind in KINDS:
        part = getattr(powder, kind)
        arrays |= {f"{kind}.sum": part.sum, f"{kind}.max": part.max}
    told = {"hits": powder.hits.n, "misses": powder.misses.n, "simulated": powder.simulated}
    with atomic_file(folder / FILE) as file:
        file.write(save(arrays, metadata={"photon-triage": json.dumps(told)}))


def read_powder(folder: Path) -> Powder | None:
    """The powder in a session's folder; None where no engine has written one.

    Raises SessionError where it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    try:
        if not require_regular(path, folder, LARGEST):
            return None
        with safe_open(path, framework="np") as file:
            told = parse_json((file.metadata() or {})["photon-triage"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
        return _powder(told, arrays)
    except (OSError, KeyError, TypeError, ValueError, SafetensorError, MemoryError) as error:
        raise SessionError(
            f"Could not read {path}: {error}.",
            "Nothing but the powder is in it: remove it, and the engine begins a new one.",
        ) from error


def _powder(told: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Powder:
    valid = arrays["valid"].astype(np.bool_)
    if valid.ndim != 2 or any(array.shape != valid.shape for array in arrays.values()):
        raise ValueError("its arrays do not have one shape")
    parts = [
        PowderSum(
            int(told[kind]), arrays[f"{kind}.sum"].astype(np.float64), arrays[f"{kind}.max"].astype(np.float32)
        )
        for kind in KINDS
    ]  # fmt: skip
    return Powder(parts[0], parts[1], valid, bool(told.get("simulated")))
