"""The audit of a session: draws as records of the journals, and what their labels say.

A draw is written down whole: its strata with their sizes, and each drawn frame with its stratum and score. So its
probabilities stay what they were when another model scores, when frames come, and when results.db is made anew.
"""

from __future__ import annotations

import math
import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from photon_triage.core.audit.design import Drawing, Stratum, draw, permanent_numbers
from photon_triage.core.audit.estimate import Sample
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.journal import JournalWriter, Record
from photon_triage.core.session.decisions.label_records import Label, key_fields, key_of
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.session.store.frames import FrameStore

DRAW, DRAWN = "draw", "drawn"
FRAMES_A_RECORD = 200
SAME_SCORE = 1e-6
MOST_COUNTED = 2**53
"""Frames of a stratum at most: what floating point counts."""


@dataclass(frozen=True, slots=True)
class DrawnFrame:
    """A frame or candidate in the audit, with its stratum and its score as they were when it was drawn."""

    key: FrameKey
    stratum: int
    score: float | None


@dataclass(frozen=True, slots=True)
class AuditDraw:
    """A random sample; frames are in the order to label them. seed: of the permanent random numbers."""

    name: str
    seed: int
    threshold: float
    model: str
    strata: tuple[Stratum, ...]
    frames: tuple[DrawnFrame, ...]


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit has come to: the sample so far, and the frames of the newest draw that wait for a verdict.

    drawn: frames of the draw that the sample is of. decided, skipped: how many of those were looked at, and how many of
    these left open on purpose. waiting: of the newest draw, in the order to label them.
    """

    draw: AuditDraw
    sample: Sample
    drawn: int
    decided: int
    skipped: int
    waiting: tuple[FrameKey, ...]
    keys: frozenset[FrameKey]
    """The frames that the sample counts."""


class DrawBook:
    """The draws that the journals tell of, the oldest first; one whose records are not all there does not count."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[tuple[float, str, int], dict[str, Any]]] = {}
        self._frames: dict[str, dict[int, DrawnFrame]] = {}

    def take(self, record: Record) -> bool:
        """Take in a record of a draw; false for any other. Raises KeyError, TypeError or ValueError."""
        fields = record.fields
        if record.kind == DRAW:
            _head(fields, ())
            self._heads[str(fields["name"])] = (record.order, fields)
        elif record.kind == DRAWN:
            file, dataset = str(fields["file"]), str(fields["dataset"])
            for place, stratum, score, index, *point in fields["frames"]:
                key = FrameKey(file, dataset, int(index), (int(point[0]), int(point[1])) if point else ())
                drawn = DrawnFrame(key_of(key_fields(key)), int(stratum), None if score is None else float(score))
                self._frames.setdefault(str(fields["of"]), {})[int(place)] = drawn
        else:
            return False
        return True

    def draws(self) -> tuple[AuditDraw, ...]:
        """All draws that are whole."""
        found = []
        for _, fields in sorted(self._heads.values(), key=lambda head: head[0]):
            frames = self._frames.get(str(fields["name"]), {})
            strata = range(len(fields["strata"]))
            if len(frames) == fields["frames"] and all(drawn.stratum in strata for drawn in frames.values()):
                found.append(_head(fields, tuple(frames[place] for place in sorted(frames))))
        return tuple(found)


def draw_audit(
    frames: FrameStore,
    before: Sequence[AuditDraw],
    labels: Mapping[FrameKey, Label],
    *,
    threshold: float,
    more: int,
    model: str = "",
    seed: int | None = None,
) -> AuditDraw:
    """Draw so many more frames than those of the last draw that were looked at, over all there are by now.

    before: the draws so far; the first one's seed counts unless another is given, so that what was drawn stays drawn as
    far as it can. labels: of drawn frames.
    """
    if seed is None:
        seed = before[0].seed if before else secrets.randbits(53)
    everything = frames.columns()
    numbers = permanent_numbers(seed, everything.files, everything.file, everything.index, everything.points)
    looked_at = sum(drawn.key in labels for drawn in before[-1].frames) if before else 0
    drawing: Drawing = draw(everything.score, everything.passed, numbers, threshold, looked_at + more)
    drawn_frames = []
    for place, stratum in zip(drawing.places.tolist(), drawing.stratum.tolist(), strict=True):
        score = float(everything.score[place])
        drawn_frames.append(DrawnFrame(everything.key(place), stratum, None if np.isnan(score) else score))
    return AuditDraw(uuid.uuid4().hex, seed, threshold, model, drawing.strata, tuple(drawn_frames))


def record_draw(journal: JournalWriter, drawn: AuditDraw) -> None:
    """Write a draw down in one stroke; on return all of it is on disk."""
    head = {
        "name": drawn.name,
        "seed": drawn.seed,
        "threshold": drawn.threshold,
        "model": drawn.model,
        "frames": len(drawn.frames),
        "strata": [
            {
                "name": stratum.name,
                "frames": stratum.frames,
                "selected": stratum.selected,
                "counts": [[bin_, count] for bin_, count in stratum.counts.items()],
            }
            for stratum in drawn.strata
        ],
    }
    by_file: dict[tuple[str, str], list[list[Any]]] = {}
    for place, frame in enumerate(drawn.frames):
        line = [place, frame.stratum, frame.score, frame.key.index, *frame.key.point]
        by_file.setdefault((frame.key.file, frame.key.dataset), []).append(line)
    entries: list[tuple[str, dict[str, Any]]] = [(DRAW, head)]
    for (file, dataset), lines in by_file.items():
        for start in range(0, len(lines), FRAMES_A_RECORD):
            part = lines[start : start + FRAMES_A_RECORD]
            entries.append((DRAWN, {"of": drawn.name, "file": file, "dataset": dataset, "frames": part}))
    journal.append_all(entries)


def audit_of(
    draws: Sequence[AuditDraw], labels: Mapping[FrameKey, Label], scores: Mapping[FrameKey, float | None]
) -> Audit | None:
    """The audit as it stands, None before the first draw.

    labels: of drawn frames, wherever they were made; where people differ the later word counts. scores: as they are
    now; a frame that is not there any more does not count. The newest draw whose frames are all decided counts, else
    the one of which most were.
    """
    if not draws:
        return None
    counted = [_counted(each, labels) for each in draws]
    whole = [place for place, each in enumerate(draws) if all(drawn.key in labels for drawn in each.frames)]
    best = whole[-1] if whole else max(range(len(draws)), key=lambda place: (len(counted[place]), place))
    chosen = draws[best]
    frames = [drawn for drawn in counted[best] if drawn.key in scores]
    known = [drawn for drawn in frames if labels[drawn.key].verdict != "skipped"]
    now = [scores[drawn.key] for drawn in known]
    sample = Sample(
        chosen.strata,
        np.array([drawn.stratum for drawn in known], dtype=np.int64),
        np.array([labels[drawn.key].verdict == "accepted" for drawn in known], dtype=np.bool_),
        np.array([np.nan if score is None else score for score in now], dtype=np.float64),
        chosen.threshold,
        any(_differs(drawn.score, score) for drawn, score in zip(known, now, strict=True)),
    )
    waiting = tuple(drawn.key for drawn in draws[-1].frames if drawn.key not in labels)
    keys = frozenset(drawn.key for drawn in known)
    return Audit(chosen, sample, len(chosen.frames), len(frames), len(frames) - len(known), waiting, keys)


def moved(draws: Iterable[AuditDraw], now: Mapping[FrameKey, FrameKey]) -> tuple[AuditDraw, ...]:
    """The same draws, of frames that have other keys now."""
    return tuple(
        replace(each, frames=tuple(replace(drawn, key=now.get(drawn.key, drawn.key)) for drawn in each.frames))
        for each in draws
    )


def _counted(drawn: AuditDraw, labels: Mapping[FrameKey, Label]) -> list[DrawnFrame]:
    """The decided frames of a draw that are a random sample themselves.

    All of them where every frame is decided. Else those up to the last that was decided in the audit: of the frames
    behind it only those have a label that some ranked list had put forward.
    """
    decided = [frame.key in labels for frame in drawn.frames]
    stop = len(decided)
    if not all(decided):
        made = [place for place, yes in enumerate(decided) if yes and labels[drawn.frames[place].key].queue == AUDIT]
        stop = made[-1] + 1 if made else 0
    return [frame for frame, yes in zip(drawn.frames[:stop], decided[:stop], strict=True) if yes]


def _head(fields: Mapping[str, Any], frames: tuple[DrawnFrame, ...]) -> AuditDraw:
    """The draw that fields tell of; raises KeyError, TypeError or ValueError where they tell of none."""
    strata = tuple(
        Stratum(
            str(stratum["name"]),
            int(stratum["frames"]),
            bool(stratum["selected"]),
            {int(bin_): int(count) for bin_, count in stratum["counts"]},
        )
        for stratum in fields["strata"]
    )
    threshold, seed = float(fields["threshold"]), int(fields["seed"])
    counts = [count for stratum in strata for count in (stratum.frames, *stratum.counts, *stratum.counts.values())]
    if not (math.isfinite(threshold) and seed >= 0 and all(0 <= count <= MOST_COUNTED for count in counts)):
        raise ValueError("Expected a threshold, a seed and strata that a draw can have.")
    return AuditDraw(str(fields["name"]), seed, threshold, str(fields["model"]), strata, frames)


def _differs(then: float | None, now: float | None) -> bool:
    return then is not now if then is None or now is None else abs(then - now) > SAME_SCORE
