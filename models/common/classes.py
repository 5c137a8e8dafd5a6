"""Names of classes: what a checkpoint says they are, and which of them is no object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from photon_triage.models.common.errors import ModelError

BACKGROUND = "background"
"""The class that is no object; the first one where none has this name."""


def background_of(classes: Sequence[str]) -> int:
    """The place of the class that is no object among these."""
    return classes.index(BACKGROUND) if BACKGROUND in classes else 0


def class_names(metadata: Mapping[str, Any], attempt: str) -> tuple[str, ...]:
    """The names that a checkpoint's metadata give under `classes`.

    Raises ModelError where they give none; `attempt` says what then cannot be done, with the checkpoint's path.
    """
    names = named_classes(metadata)
    if not names:
        raise ModelError(f"Cannot {attempt}: its metadata name no classes.", "Expected a list of names.")
    return names


def named_classes(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a checkpoint's metadata give under `classes`; none where they give no list of names."""
    names = metadata.get("classes")
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
