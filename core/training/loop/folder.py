"""Folder of a training: its lock, the settings that a resumed training must share, its progress and its curve."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import open_to_append
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import CURVE, CurvePoint, read_curve, session_of
from photon_triage.core.training.loop.progress import Progress

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
import os
from collections.abc import Iterator
from contextlib import contextmanager

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.common.locks import take_lock
from photon_triage.core.session.trainings.trainings import LOCK

BESIDE = frozenset({"session", "name", "device", "command", "note", "anew", "checkpoints_kept", "remarks"})
"""What is told of a training and changes nothing in what it comes to: where, under which name, for whom."""
EVERY_S = 0.5


def settings_of(job: DataclassInstance, **derived: Any) -> dict[str, Any]:
    """Everything that a job asks for, but what is BESIDE, as JSON values, with the session's recipe.

    job: it has a `session`. derived: what follows from the job in this session, such as the file of the model in use.
    """
    session: Session = job.session  # type: ignore[attr-defined]
    told = {each.name: getattr(job, each.name) for each in fields(job) if each.name not in BESIDE}
    recipe = session.recipe_text()
    plain: dict[str, Any] = json.loads(json.dumps(told | {"recipe": recipe} | derived, default=_plain))
    return plain


def digest_of(settings: Mapping[str, Any]) -> str:
    """A short name for settings, JSON values, the same in whatever order they stand."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Session):
        return str(value.path)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise TrainingError where the block cannot write in the folder of a training."""
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"Could not train in {folder}: {error.strerror or error}.",
            "Make the session's folder writable, with room in it, and give the same command again.",
        ) from error


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a training's folder for this process while the block runs.

    Raises TrainingError while another process has it, OSError where the folder cannot be written.
    """
    handle = take_lock(folder / LOCK, session_of(folder))
    if handle is None:
        raise TrainingError(
            f"Could not train {folder.name} in {folder.parent.parent}: another process is training it.",
            "Wait for it, or give another --name.",
        )
    try:
        yield
    finally:
        os.close(handle)


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
