"""A training's own folder in a session: what it learns from, how far it is, and the state it goes on from."""

from __future__ import annotations

import json
import os
import shlex
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import LARGEST_TABLE, make_folder, read_json, require_regular
from photon_triage.core.common.errors import TrainingError, TriageError
from photon_triage.core.common.text_safety import csv_lines
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.label_files import read_labels, write_labels
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import (
    CURVE,
    LABELS,
    PAUSE,
    SETTINGS,
    STATUS,
    STOP,
    TRAINED_ON,
    Status,
    session_of,
    trainings_path,
    write_status,
)
from photon_triage.core.training.loop.checkpoints import FOLDER, KEPT, Checkpoints
from photon_triage.core.training.loop.distributed import OtherRankDone, is_first, wait_for_all
from photon_triage.core.training.loop.folder import CurveFile, digest_of, locked, writing
from photon_triage.core.training.loop.progress import Note, Progress
from photon_triage.core.training.loop.resume_state import Keeper

STATE, NOTES = "state.safetensors", "notes.json"
LOOK_EVERY_S = 0.2
"""How often a paused training looks whether it may go on."""
BEAT_S = 20.0


class TrainingStopped(TrainingError):
    """A training was asked to stop, and can go on later."""

    title = "Stopped"


class TrainingRun:
    """The folder of one training, whose only writer is the process that trains.

    Begun again with the same settings it goes on from the state kept there, with the labels it began with: what is
    labelled meanwhile waits for the next training.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], command: str = "") -> None:
        self.folder = folder
        words = tuple(shlex.split(command)[1:])
        self._status = Status("preparing", "", os.getpid(), socket.gethostname(), words, str(Path.cwd()))
        self.keeper = Keeper(folder / STATE, settings)
        self.goes_on = can_go_on(folder, settings)
        if not self.goes_on:
            self._clear()
            self._write(SETTINGS, json.dumps(settings, indent=2) + "\n")
        self._curve = CurveFile(folder)
        self.say("preparing")

    def labels(self, now: Iterable[Label]) -> list[Label]:
        """The labels to learn from: those the training began with, which are kept here, else those of `now`."""
        path = self.folder / LABELS
        with writing(self.folder):
            there = self.goes_on and require_regular(path, session_of(self.folder), LARGEST_TABLE)
        if there:
            return read_labels(path)
        labels = list(now)
        write_labels(path, labels)
        return labels

    def noted(self, now: Any) -> Any:
        """What else the training began with, JSON values: what is kept here, else `now`, which is kept."""
        path = self.folder / NOTES
        if self.goes_on and path.exists():
            try:
                return read_json(path, session_of(self.folder), LARGEST_TABLE)
            except (OSError, ValueError) as error:
                raise TrainingError(
                    f"Could not go on with the training in {self.folder}: {NOTES} cannot be read, {error}.",
                    "Begin it anew with --anew.",
                ) from error
        self._write(NOTES, json.dumps(now, indent=2) + "\n")
        return now

    def record_trained_on(self, keys: Iterable[FrameKey]) -> None:
        """Write down the frames that the model learns from, file, dataset and index; they stay after the training."""
        rows = [(file, dataset, str(index)) for file, dataset, index in sorted({_place(key) for key in keys})]
        self._write(TRAINED_ON, b"".join(csv_lines([("file", "dataset", "index"), *rows])))

    def train(self, steps: Iterator[Progress], note: Note) -> Progress | None:
        """Run all steps, tell `note` of each batch, and return the progress of the last; raises TrainingStopped."""
        step = None
        for step in self.follow(steps):
            note(step.done, step.planned, step.loss, step.f1)
        return step

    def follow(self, steps: Iterator[Progress]) -> Iterator[Progress]:
        """Pass on every batch's progress, and write the curve that screens show; pause and stop as is asked for.

        Raises TrainingStopped.
        """
        wait_for_all()  # what is learned from is written down now: the other processes read it
        first, asked = True, False
        for step in steps:
            if first:
                self._curve.begin(step.done)
                self.say("running")
                first = False
            self._curve.add(step)
            yield step
            if asked:
                self._heed()
                asked = False
            elif step.done < step.planned and self._is_asked():
                self.keeper.hasten()  # the state is kept after the next batch; then nothing is lost by a kill
                asked = True

    def done(self) -> None:
        """The model is registered: the state is not needed any more; the curve stays."""
        self.keeper.forget()
        (self.folder / SETTINGS).unlink(missing_ok=True)
        self.say("done")

    def say(self, state: str, message: str = "") -> None:
        """Tell screens how the training is; what cannot be written does not end a training."""
        self._status = replace(self._status, state=state, message=message)
        with suppress(OSError):
            write_status(self.folder, self._status)

    def _is_asked(self) -> bool:
        return (self.folder / PAUSE).exists() or (self.folder / STOP).exists()

    def _heed(self) -> None:
        """Wait while a pause is wished, without work; raises TrainingStopped where a stop is."""
        began = beat = time.monotonic()
        while (self.folder / PAUSE).exists() and not (self.folder / STOP).exists():
            if self._status.state != "paused":
                self.say("paused")
            if time.monotonic() - beat >= BEAT_S:
                beat = time.monotonic()
                with suppress(OSError):
                    os.utime(self.folder / STATUS)
            time.sleep(LOOK_EVERY_S)
        if (self.folder / STOP).exists():
            raise TrainingStopped(
                f"The training in {self.folder} was asked to stop; no model was written yet.",
                "The same command, or `photon-triage training continue`, goes on where it was.",
            )
        self._curve.leave_out(time.monotonic() - began)
        self.say("running")

    def _clear(self) -> None:
        for name in (STATE, LABELS, SETTINGS, CURVE, NOTES):
            (self.folder / name).unlink(missing_ok=True)

    def _write(self, name: str, content: str | bytes) -> None:
        with writing(self.folder), atomic_file(self.folder / name) as file:
            file.write(content.encode() if isinstance(content, str) else content)


def can_go_on(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a folder has the state of an interrupted training of these settings."""
    try:
        kept = read_json(folder / SETTINGS, session_of(folder), LARGEST_TABLE)
        return require_regular(folder / STATE, session_of(folder)) and digest_of(kept) == digest_of(settings)
    except (OSError, ValueError):
        return False


class FollowedRun(TrainingRun):
    """A training's folder as the processes beside the first one see it: they read there, and write nothing."""

    def __init__(self, folder: Path, settings: Mapping[str, Any], command: str = "") -> None:
        self.folder, self.keeper = folder, Keeper(folder / STATE, settings)
        self.goes_on = True  # the first process has written down what it began with, or goes on from

    def record_trained_on(self, keys: Iterable[FrameKey]) -> None:
        """Left to the first process."""

    def follow(self, steps: Iterator[Progress]) -> Iterator[Progress]:
        """Pass on every batch's progress; then raise OtherRankDone."""
        yield from steps
        raise OtherRankDone

    def say(self, state: str, message: str = "") -> None:
        """Left to the first process."""


@contextmanager
def training_run(
    session: Session,
    name: str,
    settings: Mapping[str, Any],
    *,
    anew: bool = False,
    command: str = "",
    checkpoint_every: int | None = None,
    checkpoints_kept: int = KEPT,
) -> Iterator[TrainingRun]:
    """The folder of the training of the model `name`, for this process alone while the block runs.

    Where the block ends well the model is registered, and the state is forgotten; else what ended it is written down.
    anew: forget the state that an interrupted training left. command: what goes on with it later, the program's name
    first. checkpoint_every: batches between two checkpoints, None for none; the last `checkpoints_kept` remain.

    Raises TrainingError while another process trains it, and where the folder cannot be written.
    """
    folder = trainings_path(session) / name
    checkpoints = (checkpoint_every and Checkpoints(folder / FOLDER, checkpoint_every, checkpoints_kept)) or None
    if not is_first():
        wait_for_all()
        followed = FollowedRun(folder, settings)
        followed.keeper.checkpoints = checkpoints
        yield followed
        return
    with ExitStack() as stack:
        with writing(folder):
            make_folder(folder, session.path)
            stack.enter_context(locked(folder))
            if anew:
                (folder / STATE).unlink(missing_ok=True)
            for wish in (PAUSE, STOP):  # of a process before this one
                (folder / wish).unlink(missing_ok=True)
            run = TrainingRun(folder, settings, command)
        run.keeper.checkpoints = checkpoints
        with _told(run):
            yield run
            run.done()


@contextmanager
def _told(run: TrainingRun) -> Iterator[None]:
    """Say of the training why the block ended, where it did not end well."""
    try:
        yield
    except (KeyboardInterrupt, TrainingStopped):
        (run.folder / STOP).unlink(missing_ok=True)
        run.say("interrupted", "stopped; it can go on from its last state")
        raise
    except Exception as error:
        run.say("failed", str(error) if isinstance(error, TriageError) else f"{type(error).__name__}: {error}")
        raise


def _place(key: FrameKey) -> tuple[str, str, int]:
    return key.file, key.dataset, key.index
