"""What the tracker asks of readers, and what they reply: readers keep no state of any file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.common.index_ranges import Span
from photon_triage.core.engine.events import FrameRequest
from photon_triage.core.sources import SourceInfo


@dataclass(frozen=True, slots=True)
class LookRequest:
    """A look at one file: its path, the paths it may have been known under, whether to look around it."""

    path: str
    former_paths: tuple[str, ...] = ()
    around: bool = False


@dataclass(frozen=True, slots=True)
class SurveyRequest:
    """Look at files, in their order, and read those that are complete and small; read_bytes: of frames in all."""

    looks: tuple[LookRequest, ...]
    read_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """Read frames start .. stop-1; info: the layout that a survey found.

    singly: one by one, those that can be. whole: all of each frame, also where a window is looked at.
    """

    info: SourceInfo
    start: int
    stop: int
    singly: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Find out which of the frames start .. stop-1 are in a finished file."""

    info: SourceInfo
    start: int
    stop: int


Request = SurveyRequest | ReadRequest | ProbeRequest | FrameRequest


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The result of one look: info or error; frames: all of them, where they were read.

    moved_from: the path under which the file was known before.
    """

    info: SourceInfo | None = None
    error: SourceError | None = None
    frames: NDArray[np.generic] | None = None
    valid: NDArray[np.bool_] | None = None
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class SurveyReply:
    """The results for the first files of a request: fewer than requested where they took long or cost the reader."""

    results: Sequence[Surveyed] = ()


@dataclass(frozen=True, slots=True)
class ReadReply:
    """Frames that were read, (first index, (n, height, width)) each, and why others were not.

    errors: of single frames, by index. error: what ended the request.
    """

    pieces: Sequence[tuple[int, NDArray[np.generic]]] = ()
    valid: NDArray[np.bool_] | None = None
    errors: dict[int, SourceError] = field(default_factory=dict)
    error: SourceError | None = None


@dataclass(frozen=True, slots=True)
class ProbeReply:
    """The ranges of frames that are in the file."""

    present: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class RereadReply:
    """The frames of a FrameRequest, or their digests, or why they cannot be read."""

    info: SourceInfo | None = None
    frames: NDArray[np.generic] | None = None
    valid: NDArray[np.bool_] | None = None
    digests: tuple[str, ...] = ()
    error: SourceError | None = None


Reply = SurveyReply | ReadReply | ProbeReply | RereadReply
