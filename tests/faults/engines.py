"""An engine, or its intake alone, at work in this process, so that what goes wrong can be arranged."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from photon_triage.core.engine.events import FileUpdate, Frames, load_of
from photon_triage.core.engine.intake import Intake
from photon_triage.core.engine.pipeline import Engine
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import Counts, FileRow
from photon_triage.core.session.store.writer import ResultsWriter

ALL_HITS = """name = "all"
[[stages]]
kind = "lit-pixels"
photon_threshold = 1
min_lit_pixels = 1
"""


def make_session(folder: Path, recipe: str = ALL_HITS) -> Session:
    """A session whose engine takes every frame for a hit, so that it records its digest."""
    return Session.create(folder, recipe, "all")


@contextmanager
def engine(session: Session, paths: Sequence[Path], **options: Any) -> Iterator[Engine]:
    """An engine at work until the block ends; its error, if it ends with one, is raised here."""
    results = Recorder(ResultsWriter(session.results_path))
    running = Engine(session, paths, results, device="cpu", **options)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            running.run()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(180)
        results.close()
    assert not thread.is_alive(), "the engine does not end"
    if errors:
        raise errors[0]


def scan(session: Session, paths: Sequence[Path], patience: float = 1.0) -> None:
    """Run an engine until all is done."""
    results = Recorder(ResultsWriter(session.results_path))
    with closing(results):
        Engine(session, paths, results, once=True, patience=patience, device="cpu").run()


def counts(session: Session) -> Counts:
    """What is counted."""
    if not session.results_path.exists():
        return Counts()
    with closing(session.results()) as reader:
        return reader.counts()


def files(session: Session) -> dict[str, FileRow]:
    """The files by name."""
    with closing(session.results()) as reader:
        return {Path(row.path).name: row for row in reader.files()}


def recorded(session: Session) -> dict[str, dict[int, str | None]]:
    """Digests of the recorded frames, by file name and index."""
    found: dict[str, dict[int, str | None]] = {}
    with closing(session.results()) as reader:
        for row in reader.all_frames():
            frames = found.setdefault(Path(row.key.file).name, {})
            assert row.key.index not in frames, "a frame stands there twice"
            frames[row.key.index] = row.digest
    return found


def digest(frame: Any) -> str:
    """As the engine takes it."""
    return hashlib.blake2b(frame.tobytes(), digest_size=16).hexdigest()


class Collected:
    """What an intake has told: frames by file name and index, and the last news of each file."""

    def __init__(self) -> None:
        self.frames: dict[str, dict[int, Any]] = {}
        self.order: list[tuple[str, int]] = []
        self.news: dict[str, FileUpdate] = {}

    def take(self, event: object) -> None:
        """Take in an event."""
        if isinstance(event, FileUpdate):
            self.news[Path(event.file.path).name] = event
        elif isinstance(event, Frames):
            name = Path(event.info.path).name
            for index, frame in zip(event.indices, event.frames, strict=True):
                frames = self.frames.setdefault(name, {})
                assert index not in frames, "a frame was told twice"
                frames[index] = frame
                self.order.append((name, index))


def follow(intake: Intake, until: Callable[[Collected], bool], seconds: float = 180.0) -> Collected:
    """What an intake tells until a condition holds; the intake goes on."""
    told = Collected()
    deadline = time.monotonic() + seconds
    while not until(told):
        assert time.monotonic() < deadline, f"waited in vain: {told.news}"
        if intake.failure is not None:
            raise intake.failure
        events = intake.events.take(0.05)
        for event in events:
            told.take(event)
        intake.events.done(len(events), sum(map(load_of, events)))
    return told


@contextmanager
def intake(paths: Sequence[Path], **options: Any) -> Iterator[Intake]:
    """An intake at work until the block ends."""
    made = Intake(paths, options.pop("rows", ()), None, **options)
    made.start()
    try:
        yield made
    finally:
        made.close()
