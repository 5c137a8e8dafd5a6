"""Frames that are there more than once: the same pixels, and files that are copies of others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.session import Session


def contents_of(frames: Iterable[NDArray[Any]]) -> list[bytes]:
    """A digest of each frame's pixels, whatever their type: the same for copies of a frame in other files."""
    found = []
    for frame in frames:
        # Adding zero makes -0.0 the same as 0.0.
        pixels = np.ascontiguousarray(frame, np.float32) + np.float32(0)
        digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
        digest.update(pixels.tobytes())
        found.append(digest.digest())
    return found


def same_as(contents: Sequence[bytes] | None, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames have the content of one of those where `where` is true, (n,) bool; none without contents."""
    if contents is None:
        return np.zeros(len(where), bool)
    held = {content for content, wanted in zip(contents, where.tolist(), strict=True) if wanted}
    return np.array([content in held for content in contents], bool)


def copies_in(session: Session) -> dict[tuple[str, str], tuple[str, str]]:
    """(file, data set) of the files of a session that are copies of others, and of what each is a copy."""
    if not session.results_path.exists():
        return {}
    with closing(session.results()) as reader:
        return reader.copies()


def as_originals(keys: Iterable[FrameKey], copies: Mapping[tuple[str, str], tuple[str, str]]) -> tuple[FrameKey, ...]:
    """The keys with the file and data set that a copy was made from, so that frames of two copies are neighbours.

    copies: (file, data set) of copies, and what each is a copy of.
    """
    named = ((key, *copies.get((key.file, key.dataset), (key.file, key.dataset))) for key in keys)
    return tuple(replace(key, file=file, dataset=dataset) for key, file, dataset in named)
