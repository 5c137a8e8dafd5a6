"""A training's own folder in a session: what it learns from, how far it is, and the state it goes on from."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.atomic import atomic_file
from photon_triage.core.errors import TrainingError
from photon_triage.core.session.label_files import read_labels, write_labels
from photon_triage.core.session.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.training.keeping import Keeper, digest_of
from photon_triage.core.training.progress import Progress

STATE, LABELS, SETTINGS, CURVE, LOCK = "state.safetensors", "labels.csv", "settings.json", "curve.jsonl", "lock"
SHOWN_EVERY_S = 0.5
LOW_PRIORITY = 10


@dataclass(frozen=True)
class CurvePoint:
    """A line of a training's curve: batches done and planned, the smoothed loss, F1 where checked, seconds so far."""

    done: int
    planned: int
    loss: float
    f1: float | None
    seconds: float


class TrainingRun:
    """The folder of one training, whose only writer is the process that trains.

    Begun again with the same settings it goes on from the state kept there, with the labels it began with: what is
    labelled meanwhile waits for the next training.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._settings = dict(settings)
        self.keeper = Keeper(folder / STATE, settings)
        self.goes_on = (folder / STATE).exists() and self._same_settings()
        self._seconds, self._began, self._shown = 0.0, time.monotonic(), 0.0
        if not self.goes_on:
            self._clear()
            self._write(SETTINGS, json.dumps(self._settings, indent=2, default=str) + "\n")
        elif points := read_curve(folder):
            self._seconds = points[-1].seconds

    def labels(self, now: Iterable[Label]) -> list[Label]:
        """The labels to learn from: those the training began with, which are kept here, else those of `now`."""
        path = self.folder / LABELS
        if self.goes_on and path.exists():
            return read_labels(path)
        labels = list(now)
        write_labels(path, labels)
        return labels

    def follow(self, steps: Iterator[Progress]) -> Iterator[Progress]:
        """Pass on every batch's progress, and write the curve that screens show."""
        first = True
        for step in steps:
            if first:
                self._trim_curve(step.done)
                first = False
            now = time.monotonic()
            if step.f1 is not None or step.done == step.planned or now - self._shown >= SHOWN_EVERY_S:
                self._shown = now
                self._append(step, self._seconds + now - self._began)
            yield step

    def done(self) -> None:
        """The model is registered: the state is not needed any more; the curve stays."""
        self.keeper.forget()
        (self.folder / SETTINGS).unlink(missing_ok=True)

    def _same_settings(self) -> bool:
        try:
            kept = json.loads((self.folder / SETTINGS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return digest_of(kept) == digest_of(json.loads(json.dumps(self._settings, default=str)))

    def _clear(self) -> None:
        for name in (STATE, LABELS, SETTINGS, CURVE):
            (self.folder / name).unlink(missing_ok=True)

    def _write(self, name: str, text: str) -> None:
        try:
            with atomic_file(self.folder / name) as file:
                file.write(text.encode())
        except OSError as error:
            raise TrainingError(
                f"Could not train in {self.folder}: {error.strerror or error}.",
                "Make the session's folder writable, with room in it, and give the same command again.",
            ) from error

    def _trim_curve(self, first: int) -> None:
        """Drop the lines of batches that are done again, and a torn last one."""
        if (self.folder / CURVE).exists():
            kept = [point for point in read_curve(self.folder) if point.done < first]
            self._write(CURVE, "".join(_line(point) for point in kept))

    def _append(self, step: Progress, seconds: float) -> None:
        point = CurvePoint(step.done, step.planned, step.loss, step.f1, seconds)
        with (self.folder / CURVE).open("a", encoding="utf-8") as file:
            file.write(_line(point))


@contextmanager
def training_run(
    session: Session, name: str, settings: Mapping[str, Any], *, anew: bool = False
) -> Iterator[TrainingRun]:
    """The folder of the training of the model `name`, for this process alone while the block runs.

    anew: forget the state that an interrupted training left.

    Raises TrainingError while another process trains it, and where the folder cannot be written.
    """
    folder = session.path / "training" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise TrainingError(
            f"Could not train in {folder}: {error.strerror or error}.", "Make the session's folder writable."
        ) from error
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise TrainingError(
                    f"Could not train {name} in {session.path}: another process is training it.",
                    "Wait for it, or give another --name.",
                ) from error
        if anew:
            (folder / STATE).unlink(missing_ok=True)
        yield TrainingRun(folder, settings)
    finally:
        os.close(handle)


def lower_priority() -> None:
    """Let the engine and the screens go first on this machine's cores."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, max(os.getpriority(os.PRIO_PROCESS, 0), LOW_PRIORITY))


def read_curve(folder: Path) -> list[CurvePoint]:
    """The curve of a training so far; [] where there is none. A torn last line is left out."""
    try:
        lines = (folder / CURVE).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    points = []
    for line in lines:
        try:
            points.append(CurvePoint(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return points


def _line(point: CurvePoint) -> str:
    return json.dumps({name: getattr(point, name) for name in CurvePoint.__dataclass_fields__}) + "\n"
