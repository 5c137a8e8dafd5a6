"""Labels as records of a journal: what is written for them, and what is read back."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from photon_triage.core.frames import HIGHEST_INDEX, LATEST_TIME, FrameKey
from photon_triage.core.session.decisions.journal import Record

Verdict = Literal["accepted", "rejected", "skipped"]
VERDICTS: tuple[str, ...] = get_args(Verdict)
Order = tuple[float, float, str, int]
"""The order of what was decided: time in the merged order, then rank, journal and number of the record."""


@dataclass(frozen=True, slots=True)
class Label:
    """One operator's verdict on one frame, or on one candidate where the key has a point."""

    key: FrameKey
    verdict: Verdict
    who: str
    time: float
    category: str = ""
    """The class, such as single, multiple or water; empty where none was given."""
    digest: str = ""
    """Of the frame's raw bytes, where it was known."""
    queue: str = ""
    """The order of work that it was made from; empty where that is not known, as with labels from elsewhere."""
    imported: bool = field(default=False, compare=False)
    """Whether it was taken over from a table, not decided here."""
    order: Order = field(default=(0.0, 0.0, "", 0), compare=False)
    """Of two labels of a frame the one with the higher order counts."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A frame or candidate that is decided on, with the digest of the frame's raw bytes where it is known."""

    key: FrameKey
    digest: str | None = None


def subject_fields(subject: Subject) -> dict[str, object]:
    """What a record says of the frame that it is about."""
    return key_fields(subject.key) | ({"digest": subject.digest} if subject.digest else {})


def subjects_of(record: Record) -> list[dict[str, Any]]:
    """The frames that a record is about, each as fields: itself, or those in its list."""
    if "frames" not in record.fields:
        return [record.fields]
    frames = record.fields["frames"]
    if not (isinstance(frames, list) and all(isinstance(fields, dict) for fields in frames)):
        raise TypeError("Expected a list of frames.")
    return frames


def key_fields(key: FrameKey) -> dict[str, object]:
    """What a record says of a frame's key."""
    fields: dict[str, object] = {"file": key.file, "dataset": key.dataset, "index": key.index}
    return fields | {"point": list(key.point)} if key.point else fields


def key_of(fields: dict[str, Any]) -> FrameKey:
    """The frame that fields name; raises KeyError, TypeError or ValueError where they name none."""
    file, dataset, index = fields["file"], fields["dataset"], fields["index"]
    if not (isinstance(file, str) and isinstance(dataset, str) and isinstance(index, int)):
        raise TypeError(f"Expected a file, a data set and an index. Got {file!a}, {dataset!a}, {index!a} instead.")
    if not (0 <= index <= HIGHEST_INDEX and _is_name(file + dataset)):
        raise ValueError(f"Expected names and an index that a frame can have. Got {file!a}, {dataset!a}, {index!a}.")
    point = fields.get("point", [])
    if point == []:
        return FrameKey(file, dataset, index)
    if not (isinstance(point, list) and len(point) in (0, 2) and all(isinstance(place, int) for place in point)):
        raise TypeError(f"Expected a point of two whole numbers. Got {point!a} instead.")
    if any(abs(place) > HIGHEST_INDEX for place in point):
        raise ValueError(f"Expected pixels of a frame. Got {point!a} instead.")
    return FrameKey(file, dataset, index, (point[0], point[1]))


def order_of(record: Record) -> Order:
    """The order of what a record says.

    A label from a table stands at the time that the table gives, but not after the record that brought it; a table that
    was imported to override stands where its record does.
    """
    rank = record.order[0]
    when = record.fields.get("labelled_at", rank)
    if record.kind != "label" or "labelled_by" not in record.fields or record.fields.get("override") is True:
        when = rank
    return (min(float(when), rank), *record.order)


def labels_in(record: Record) -> list[Label]:
    """The labels that a record gives to frames; raises KeyError, TypeError or ValueError where it gives none."""
    frames = subjects_of(record)
    order = order_of(record)
    return [_label_of(record, fields, order) for fields in frames]


def _label_of(record: Record, fields: dict[str, Any], order: Order) -> Label:
    verdict = record.fields["verdict"]
    if verdict not in VERDICTS:
        raise ValueError(f"Expected one of {VERDICTS}. Got {verdict!a} instead.")
    who = str(record.fields.get("labelled_by", record.who))
    when = float(record.fields.get("labelled_at", record.time))
    if not 0 <= when <= LATEST_TIME:
        raise ValueError(f"Expected a time from 1970 to the year 9999. Got {when!a} instead.")
    category, digest = str(record.fields.get("class") or ""), str(fields.get("digest") or "")
    queue, imported = str(record.fields.get("queue") or ""), "labelled_by" in record.fields
    if not _is_name(f"{who}{category}{digest}{queue}"):
        raise ValueError("Expected names that can be written. Got characters that no text has.")
    return Label(key_of(fields), verdict, who, when, category, digest, queue, imported, order)


def threshold_of(record: Record) -> float:
    """The threshold that a record says; raises KeyError, TypeError, ValueError or OverflowError where it says none."""
    value = float(record.fields["value"])
    if not math.isfinite(value):
        raise ValueError(f"Expected a finite threshold. Got {value} instead.")
    return value


def _is_name(text: str) -> bool:
    """Whether a text can stand in a file: no NUL, and no half characters but those of a file name's raw bytes."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a record, with its place in the order: a label, a flag or a threshold."""

    order: Order
    subject: FrameKey | None
    value: Label | bool | float
    written: float
    """Unix time; a label that was imported is older."""

    @property
    def record(self) -> tuple[str, int]:
        """Journal and number of the record."""
        return self.order[2:]
