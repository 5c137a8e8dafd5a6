"""Networks: tensors in, tensors out."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from photon_triage.models.common.registry import available as available
    from photon_triage.models.common.registry import create as create
    from photon_triage.models.common.registry import register as register

# Large tensors on huge pages, where the system grants them to who asks: fewer page faults, and weights are read faster.
# torch looks at it when it first allocates memory.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__all__ = ["available", "create", "register"]


def __getattr__(name: str) -> object:
    """The registry's functions, imported when they are asked for: importing this package imports no torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from photon_triage.models.common import registry

    return getattr(registry, name)
