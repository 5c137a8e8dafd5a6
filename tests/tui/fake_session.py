"""Sessions as an engine leaves them, without an engine: results, journals and frames made up in a moment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import Box, FrameKey, Geometry
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import FileStatus
from photon_triage.core.session.store.rows import Detection, FileRow, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

HEIGHT, WIDTH = 64, 96
NOW = 1_800_000_000.0
RECIPE = """
name = "small"

[prepare]
roi = { top = 8, left = 16, height = 48, width = 64 }

[[stages]]
kind = "lit-pixels"
min_photons = 200

[[stages]]
kind = "size"
min_diameter_nm = 55
max_diameter_nm = 84

[[stages]]
kind = "classify"
model = "hitnet-spi"
threshold = 0.5
"""


class FakeSource:
    """Frames from memory, in place of a reader process."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self.reads: list[FrameKey] = []
        self.closed = False

    def inspect(self, path: str, dataset: str | None = None) -> Any:
        """The path alone."""
        return path

    def read(self, path: str, dataset: str, start: int, stop: int) -> NDArray[Any]:
        """Rings whose brightness tells the index."""
        if path in self.gone:
            raise SourceError(f"Could not read {path}: there is no such file.", "It may have been moved.")
        self.reads.append(FrameKey(path, dataset, start))
        return np.stack([rings(index) for index in range(start, stop)])

    def mask(self, info: Any) -> NDArray[np.bool_] | None:
        """No mask."""
        return None

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def rings(index: int) -> NDArray[np.float32]:
    """A frame of the size above with rings around its centre; two pixels are marked as bad."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    radius = np.hypot(y - HEIGHT / 2, x - WIDTH / 2)
    frame: NDArray[np.float32] = (60 * np.exp(-radius / 14) * (1 + np.cos(radius / (2 + index % 3)))).astype(np.float32)
    frame[10:14, 20:24] = -1
    return frame


@dataclass
class FakeSession:
    """A session and the pen of its engine."""

    session: Session
    writer: ResultsWriter | None
    files: dict[str, int]
    added: int = 0

    def add_file(
        self,
        name: str = "run_0142.h5",
        *,
        run: str = "r0142",
        simulated: bool = False,
        geometry: Geometry | None = None,
    ) -> int:
        """A file in the ledger; returns its id."""
        assert self.writer is not None
        path = str(self.session.path.parent / name)
        self.files[name] = self.writer.put_file(
            FileRow(
                0, path, "/entry/data", run, "nexus", HEIGHT, WIDTH, "float32", geometry or Geometry(), simulated, 0, 0,
                FileStatus.READING, "", 0, 0, time.time(),
            )
        )  # fmt: skip
        return self.files[name]

    def add_frames(self, count: int, name: str = "run_0142.h5", *, scores: list[float] | None = None) -> None:
        """Hits with falling scores, or these; each with a box on it."""
        assert self.writer is not None
        file_id = self.files.get(name) or self.add_file(name)
        results = []
        for place in range(count):
            index = self.added + place
            score = scores[place] if scores else max(0.99 - 0.01 * index, 0.0)
            box = Detection("single", score, Box(36, 24, 24, 16))
            results.append(
                FrameResult(
                    index, 3, True, score, "hitnet-spi", f"d{index}",
                    {"lit_pixels": 300.0 + index, "photons": 1200.0 + index, "diameter_nm": 70.5}, (box,),
                )
            )  # fmt: skip
        self.writer.put_frames(file_id, results, time.time())
        self.added += count

    def say(self, **state: Any) -> None:
        """What the engine says of itself."""
        assert self.writer is not None
        self.writer.set_state(state)

    def write_file(self, count: int, name: str = "run_0142.h5") -> None:
        """A real file with as many frames, for a screen with a real reader."""
        with h5py.File(self.session.path.parent / name, "w") as file:
            file["entry/data"] = np.stack([rings(index) for index in range(count)])

    def run_engine(self, **state: Any) -> None:
        """Look like an engine at work."""
        self.say(
            **{
                "status": "running", "pid": 4242, "host": "beamline", "heartbeat": time.time(), "rate_hz": 412.0,
                "lag_s": 0.3, "queue": 12, "dropped": 0, "model": "hitnet-spi", "device": "cpu", "workers": 2,
                "message": "r0142 opened",
            }
            | state
        )  # fmt: skip

    def close(self) -> None:
        """Put the pen down."""
        if self.writer is not None:
            self.writer.close()

    def key(self, index: int, name: str = "run_0142.h5") -> FrameKey:
        """The key of a frame of a file."""
        return FrameKey(str(self.session.path.parent / name), "/entry/data", index)

    def label(self, verdicts: dict[int, Any], who: str = "someone") -> None:
        """Labels of another operator, by index."""
        journal = self.session.journal(who)
        writer = LabelWriter(journal)
        for index, verdict in verdicts.items():
            writer.decide(self.key(index), verdict)
        journal.close()


def make_session(folder: Path, *, recipe: str = RECIPE, results: bool = True) -> FakeSession:
    """A session in a folder of its own."""
    text = recipe if "[[stages]]" in recipe else recipe_text(recipe)
    session = Session.create(folder / "session", text, "test")
    return FakeSession(session, ResultsWriter(session.results_path) if results else None, {})
