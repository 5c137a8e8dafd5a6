"""The curve that a training leaves for screens: a line every half second, and one for every check."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import open_to_append
from photon_triage.core.session.trainings.trainings import CURVE, CurvePoint, read_curve, session_of
from photon_triage.core.training.loop.folder import writing
from photon_triage.core.training.loop.progress import Progress

EVERY_S = 0.5


class CurveFile:
    """The curve in a training's folder, with the seconds that the training took in all its processes, without pauses.

    Its methods raise TrainingError where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        points = read_curve(folder)
        self._before = points[-1].seconds if points else 0.0
        self._began, self._shown = time.monotonic(), 0.0

    def begin(self, first: int) -> None:
        """Drop the lines of batches that are done again from `first` on, and a torn last one."""
        path = self._folder / CURVE
        if path.exists():
            kept = [point for point in read_curve(self._folder) if point.done < first]
            with writing(self._folder), atomic_file(path) as file:
                file.write("".join(map(_line, kept)).encode())

    def add(self, step: Progress) -> None:
        """Write down a batch, if it was checked, is the last one, or the last line is old enough."""
        now = time.monotonic()
        if step.f1 is not None or step.done == step.planned or now - self._shown >= EVERY_S:
            self._shown = now
            point = CurvePoint(step.done, step.planned, step.loss, step.f1, self._before + now - self._began)
            with writing(self._folder), open_to_append(self._folder / CURVE, session_of(self._folder)) as file:
                file.write(_line(point).encode())

    def leave_out(self, seconds: float) -> None:
        """Do not count these seconds, of a pause."""
        self._began += seconds


def _line(point: CurvePoint) -> str:
    return json.dumps(asdict(point)) + "\n"
