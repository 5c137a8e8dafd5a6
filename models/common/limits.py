"""Bounds on networks that files describe: computed from what the file says, before anything is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from photon_triage.models.common.errors import ModelError

LARGEST_NETWORK = 2**28
"""Learnable numbers: 1 GiB in float32, four times YOLOv3."""
LARGEST_MAP = 2**28
"""Values of one layer's output for one frame."""
MOST_LAYERS = 2000
LARGEST_NUMBER = 2**20
"""An option of an architecture: channels, pixels, layers."""
LONGEST_LIST = 1024
LONGEST_TEXT = 2**20
"""Bytes of a cfg."""
LARGEST_FILE = 2**32
"""Bytes of a file with weights: a network, and the state of its training beside it."""
LARGEST_HEADER = 2**24
"""Bytes of the names and shapes in a safetensors file."""

_SMALLER = "It is larger than any network that is used on frames: ask where the file comes from."


def check_options(family: str, options: Mapping[str, Any]) -> None:
    """Raise ModelError for an option of an architecture that is too large, too long or nested."""
    for name, value in options.items():
        for each in value if isinstance(value, Sequence) and not isinstance(value, str) else (value,):
            if isinstance(each, str) and len(each) > LONGEST_TEXT:
                raise _too_large(family, name, f"{len(each):,} characters", LONGEST_TEXT)
            if isinstance(each, int | float) and not -LARGEST_NUMBER <= each <= LARGEST_NUMBER:
                raise _too_large(family, name, f"{float(each) if each < 1e300 else math.inf:g}", LARGEST_NUMBER)
            if isinstance(each, Sequence | Mapping) and not isinstance(each, str):
                raise ModelError(f"Cannot build a {family} network: {name} is nested.", "Expected plain values.")
        if isinstance(value, Sequence) and not isinstance(value, str) and len(value) > LONGEST_LIST:
            raise _too_large(family, name, f"{len(value):,} values", LONGEST_LIST)


def require_numbers(numbers: int, what: str) -> None:
    """Raise ModelError for a network, or a part of one, of more learnable numbers than LARGEST_NETWORK."""
    if numbers > LARGEST_NETWORK:
        raise ModelError(f"Cannot build {what}: it has {numbers:,} numbers, at most {LARGEST_NETWORK:,}.", _SMALLER)


def require_map(shape: Sequence[int], what: str) -> None:
    """Raise ModelError for a layer's output, or its input with padding, of more values than LARGEST_MAP."""
    if math.prod(shape) > LARGEST_MAP:
        sides = " x ".join(map(str, shape))
        raise ModelError(
            f"Cannot build {what}: {sides} are {math.prod(shape):,} values, at most {LARGEST_MAP:,}.", _SMALLER
        )


def require_layers(layers: int, what: str) -> None:
    """Raise ModelError for a network of more layers than MOST_LAYERS."""
    if layers > MOST_LAYERS:
        raise ModelError(f"Cannot build {what}: it has {layers:,} layers, at most {MOST_LAYERS:,}.", _SMALLER)


def _too_large(family: str, name: str, value: str, largest: int) -> ModelError:
    return ModelError(
        f"Cannot build a {family} network: {name} is too large, {value}.", f"Allowed: at most {largest:,}. {_SMALLER}"
    )
