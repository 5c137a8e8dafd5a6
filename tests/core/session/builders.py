"""Sessions with a known content, written as the engine and the screens write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FileRow, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

DATASET = "/entry_1/data_1/data"
ONE_CELL_CFG = """[net]
width=32
height=32
channels=1
[convolutional]
filters=6
size=1
stride=32
activation=linear
[region]
anchors=2,2
classes=1
coords=4
num=1
softmax=1
"""
"""A detector of one cell on frames of 32 x 32 pixels."""


def file_row(path: str, frames: int, **changes: object) -> FileRow:
    values: dict[str, object] = {
        "id": 0,
        "path": path,
        "dataset": DATASET,
        "run": "r0001",
        "layout": "cxi",
        "height": 16,
        "width": 16,
        "dtype": "int32",
        "geometry": Geometry(),
        "simulated": False,
        "frames": frames,
        "done": 0,
        "status": "complete",
        "reason": "",
        "size": 100,
        "mtime_ns": 1,
        "updated": 1.0,
    }
    return FileRow(**(values | changes))  # type: ignore[arg-type]


def frame_results(scores: Sequence[float | None]) -> list[FrameResult]:
    return [
        FrameResult(
            index=place,
            passed=1 if score is None else 3,
            hit=score is not None,
            score=score,
            model=None if score is None else "hitnet-test",
            measures={"photons": 10.0 * place},
        )
        for place, score in enumerate(scores)
    ]


def build_session(
    folder: Path, files: dict[str, Sequence[float | None]], recipe: str = "spi", **changes: object
) -> Session:
    """A session whose files hold frames of these scores, all read."""
    session = Session.create(folder, recipe_text(recipe), recipe)
    writer = ResultsWriter(session.results_path)
    for path, scores in files.items():
        file_id = writer.put_file(file_row(path, len(scores), **changes))
        if scores:
            writer.put_frames(file_id, frame_results(scores), now=100.0)
    writer.close()
    return session


def key(path: str, index: int, dataset: str = DATASET) -> FrameKey:
    return FrameKey(path, dataset, index)
