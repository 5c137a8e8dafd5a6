"""Which stored numbers are images, and as which dtype frames of them are handed over."""

from __future__ import annotations

from typing import Any

import numpy as np

_BYTES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}

READ = "bool, int8 to int64, uint8 to uint64, float16, float32, float64"


def image_dtype(stored: np.dtype[Any]) -> np.dtype[Any] | None:
    """The dtype in which frames of a stored dtype are handed over, None where it makes no image.

    Native byte order and the same values; bool as uint8. Integers of 64 bits are handed over exactly. Stages compute in
    float32, which rounds integers beyond 2^24 (float64: beyond 2^53) to the nearest it has, an error below 6e-8 of the
    value; counts of a detector stay below.
    """
    if stored.itemsize not in _BYTES.get(stored.kind, ()) or stored.subdtype is not None:
        return None
    return np.dtype(np.uint8) if stored.kind == "b" else np.dtype(f"{stored.kind}{stored.itemsize}")


def stored_dtype(node: Any) -> np.dtype[Any] | None:
    """The dtype of an HDF5 data set, None where NumPy has none for its type."""
    try:
        dtype: np.dtype[Any] = np.dtype(node.dtype)
    except (TypeError, ValueError):
        return None
    return dtype
