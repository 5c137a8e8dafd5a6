"""The registry: architectures by name, so that a checkpoint can say what to build."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from photon_triage.models.common import limits
from photon_triage.models.common.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

Builder = TypeVar("Builder", bound="Callable[..., nn.Module]")

FAMILY_MODULES = (
    "photon_triage.models.darknet.darknet",
    "photon_triage.models.nets.lenet",
    "photon_triage.models.msd",
    "photon_triage.models.nets.radial_net",
    "photon_triage.models.nets.unet",
)
"""The modules that register architectures when they are imported."""

_builders: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Register what is decorated, a function or a module class, as the builder of the architecture `name`."""

    def keep(builder: Builder) -> Builder:
        known = _builders.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (builder.__module__, builder.__qualname__):
            raise ModelError(f"Cannot register {name}: {known.__qualname__} has that name.", "Use another name.")
        _builders[name] = builder
        return builder

    return keep


def available() -> tuple[str, ...]:
    """The names of all registered architectures."""
    for module in FAMILY_MODULES:
        importlib.import_module(module)
    return tuple(sorted(_builders))


def create(name: str, /, **options: Any) -> nn.Module:
    """A new model of the architecture `name`; `options` are its builder's.

    Raises ModelError for one that is larger than a network may be, before memory is taken for it.
    """
    outline(name, **options)
    return _built(name, options)


def outline(name: str, /, **options: Any) -> nn.Module:
    """A model without memory behind its tensors, on torch's device "meta", to know its size; raises as `create`."""
    import torch

    if name not in available():
        raise ModelError(
            f"Cannot create a {name} model: no such architecture.", f"Available: {', '.join(available())}."
        )
    limits.check_options(name, options)
    with torch.device("meta"):
        model = _built(name, options)
    limits.require_numbers(sum(tensor.numel() for tensor in model.state_dict().values()), f"a {name} model")
    return model


def _built(name: str, options: Mapping[str, Any]) -> nn.Module:
    try:
        return _builders[name](**options)
    except ModelError:
        raise
    except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError, MemoryError) as error:
        # The last ones are torch's and Python's for sizes that no memory holds.
        raise ModelError(f"Cannot create a {name} model: {error}.", "See the builder's arguments.") from error
