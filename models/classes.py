"""Names of classes: which of them is no object."""

from __future__ import annotations

from collections.abc import Sequence

BACKGROUND = "background"
"""The class that is no object; the first one where none has this name."""


def background_of(classes: Sequence[str]) -> int:
    """The place of the class that is no object among these."""
    return classes.index(BACKGROUND) if BACKGROUND in classes else 0
