"""The curve of a training: a line for every few batches, appended by the process that trains."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.common.containment import LARGEST_TABLE, open_binary, parse_json

CURVE = "curve.jsonl"


@dataclass(frozen=True)
class CurvePoint:
    """A line of a training's curve: batches done and planned, the smoothed loss, F1 where checked, seconds so far.

    Seconds are those of work: pauses and interruptions do not count.
    """

    done: int
    planned: int
    loss: float
    f1: float | None
    seconds: float


class CurveFollower:
    """Reads what is new of a curve within `root` only; a torn last line is left for the next time."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path, self._root, self._known, self._offset = path, root, (0, 0), 0
        self._points: tuple[CurvePoint, ...] = ()

    def read(self) -> Sequence[CurvePoint]:
        """The curve so far; empty where there is none."""
        try:
            with open_binary(self._path, self._root, LARGEST_TABLE) as file:
                stat = os.fstat(file.fileno())
                if (stat.st_dev, stat.st_ino) != self._known or stat.st_size < self._offset:
                    self._known, self._offset, self._points = (stat.st_dev, stat.st_ino), 0, ()
                if stat.st_size > self._offset:
                    file.seek(self._offset)
                    whole, end, _ = file.read().rpartition(b"\n")
                    self._offset += len(whole) + len(end)
                    self._points += tuple(filter(None, map(_point, whole.splitlines())))
        except OSError:
            self._known, self._offset, self._points = (0, 0), 0, ()
        return self._points


def read_curve(folder: Path) -> list[CurvePoint]:
    """The curve of a training so far; [] where there is none. A torn last line is left out."""
    return list(CurveFollower(folder / CURVE, folder.parent.parent).read())


def _point(line: bytes) -> CurvePoint | None:
    with suppress(ValueError, TypeError):
        return CurvePoint(**parse_json(line))
    return None
