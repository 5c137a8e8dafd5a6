"""Engines and screens killed at any instant while others label: no decision that a screen called saved is lost."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from photon_triage.core.session.decisions.journal import JournalFollower
from photon_triage.core.session.session import Session
from tests.builders.detector_files import GrowingCxi, frames_of
from tests.waiting import wait_until

from .engines import counts, make_session, recorded, scan
from .killed import begin, run_engine, run_screen
from .scale import scaled

Say = Callable[[str], None]
SAVED = re.compile(r"(\d+) [✓✗–] (\d+) (accepted|rejected|skipped)")


@dataclass
class Screen:
    """A screen at work, and what it has said."""

    process: BaseProcess
    ours: int
    theirs: int
    said: bytes = b""
    closed: bool = False

    def listen(self) -> None:
        """Take what it has said."""
        while True:
            try:
                more = os.read(self.ours, 65536)
            except BlockingIOError:
                return
            if not more:
                return
            self.said += more

    def saved(self) -> list[tuple[int, str]]:
        """The decisions that it called saved: (id of the frame, verdict)."""
        if not self.closed:
            self.listen()
        return [(int(found[2]), found[3]) for found in SAVED.finditer(self.said.decode())]

    def close(self) -> None:
        """Hear the last of it."""
        self.listen()
        os.close(self.ours)
        os.close(self.theirs)
        self.closed = True


@dataclass
class Beamline:
    """An engine and some screens on one session, each of which may be killed."""

    session: Path
    data: Path
    screens: list[Screen] = field(default_factory=list)
    engine: BaseProcess | None = None

    def start_engine(self) -> None:
        self.engine = begin(run_engine, self.session, self.data)

    def add_screen(self) -> None:
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        process = begin(run_screen, self.session, Path(f"/proc/{os.getpid()}/fd/{theirs}"))
        self.screens.append(Screen(process, ours, theirs))

    def kill(self, process: BaseProcess) -> None:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def test_no_decision_that_was_called_saved_is_lost(tmp_path: Path, figure: Say) -> None:
    kills, rng = scaled(12, 1000), random.Random(8)
    data = tmp_path / "data"
    data.mkdir()
    session = make_session(tmp_path / "session")
    line = Beamline(session.path, data)
    ended: list[Screen] = []
    killed_engines = written = 0
    with GrowingCxi(data / "run.cxi") as run:
        line.start_engine()
        try:
            run.append(frames_of(200))
            written = 200
            wait_until(lambda: counts(session).frames > 0)
            for _ in range(3):
                line.add_screen()
            for number in range(kills):
                if len(line.screens) < rng.randint(2, 4):
                    line.add_screen()
                victim = rng.choice(line.screens)
                enough = rng.randint(1, 6)
                wait_until(lambda victim=victim, enough=enough: len(victim.saved()) >= enough)  # type: ignore[misc]
                time.sleep(rng.uniform(0, 0.3))
                if number % 4 == 3:
                    assert line.engine is not None
                    line.kill(line.engine)
                    killed_engines += 1
                    line.start_engine()
                else:
                    line.kill(victim.process)
                    line.screens.remove(victim)
                    victim.close()
                    ended.append(victim)
                    if len(line.screens) < 2:
                        line.add_screen()
                if number % 10 == 0:
                    run.append(frames_of(10, first=written % 1000))
                    written += 10
        finally:
            for screen in line.screens:
                line.kill(screen.process)
                screen.close()
            assert line.engine is not None
            line.kill(line.engine)
        run.finish()
    scan(session, [data])
    saved = _saved(session, [*ended, *line.screens])
    follower = JournalFollower(session.journal_path)
    standing = {
        (record.journal.split("-")[-2], int(record.fields["index"]), str(record.fields["verdict"]))
        for record in follower.new_records()
        if record.kind == "label"
    }
    lost = saved - standing
    figure(
        f"SIGKILLs with labels arriving: {kills} ({killed_engines} of engines), {len(lost)} of {len(saved)} decisions "
        f"that were called saved lost, {follower.damaged} torn lines passed over; {counts(session).frames} of "
        f"{written} frames, each once"
    )
    assert saved and not lost
    assert sorted(recorded(session)["run.cxi"]) == list(range(written))


def _saved(session: Session, screens: list[Screen]) -> set[tuple[str, int, str]]:
    """What screens have called saved: (process, index of the frame, verdict)."""
    with closing(session.results()) as reader:
        index_of = {row.id: row.key.index for row in reader.all_frames()}
    return {
        (str(screen.process.pid), index_of[frame], verdict) for screen in screens for frame, verdict in screen.saved()
    }
