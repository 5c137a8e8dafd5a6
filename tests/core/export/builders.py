"""Sessions of candidates and masks, and of frames that are really there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from photon_triage.core.candidates import Candidate
from photon_triage.core.export.export import Exported, export
from photon_triage.core.export.list_content import Options, Select
from photon_triage.core.frames import Box, FrameKey
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.decisions.labels import LabelWriter, Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap, Detection, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter

from ..session.builders import DATASET, file_row

HEIGHT, WIDTH = 60, 80
Found = Mapping[int, Sequence[tuple[int, int, float]]]
"""Candidates by frame: x, y, score."""


def candidate_session(
    folder: Path, files: Mapping[str, tuple[int, Found]], masks: Mapping[int, ClassMap] | None = None, **changes: object
) -> Session:
    """A cryo-ET session: for each path the number of its frames and their candidates; masks by frame."""
    session = Session.create(folder, recipe_text("cryoet"), "cryoet")
    writer = ResultsWriter(session.results_path)
    for path, (frames, found) in files.items():
        row = file_row(path, frames, **({"height": HEIGHT, "width": WIDTH, "dataset": ""} | changes))
        results = [
            FrameResult(
                index,
                2,
                True,
                max((score for *_, score in found.get(index, ())), default=0.0),
                "particles",
                candidates=tuple(Candidate(*each) for each in found.get(index, ())),
                mask=(masks or {}).get(index),
            )
            for index in range(frames)
        ]
        writer.put_frames(writer.put_file(row), results, now=100.0)
    writer.close()
    return session


def write_frames(path: Path, count: int = 6, height: int = 16, width: int = 16) -> np.ndarray:
    """A CXI file of frames that all differ."""
    frames = np.random.default_rng(count).poisson(3.0, (count, height, width)).astype(np.int32)
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        file.create_dataset(DATASET, data=frames, chunks=(1, height, width))
        file["entry_1/end_time"] = "2026-01-01T00:00:00"
    return frames


def frame_session(
    folder: Path, files: Mapping[Path, Sequence[float]], recipe: str = "spi", **changes: object
) -> Session:
    """A session of files that are there, with a box and a size for each frame."""
    session = Session.create(folder, recipe_text(recipe), recipe)
    writer = ResultsWriter(session.results_path)
    for path, scores in files.items():
        results = [
            FrameResult(
                index,
                3,
                True,
                score,
                "hitnet-test",
                measures={"diameter_nm": 60.0 + index, "spots": float(index)},
                detections=(Detection("single", score, Box(2.0, 4.0, 8.0, 4.0)),),
            )
            for index, score in enumerate(scores)
        ]
        writer.put_frames(writer.put_file(file_row(str(path), len(scores), **changes)), results, now=100.0)
    writer.close()
    return session


def label(session: Session, key: FrameKey, verdict: Verdict, category: str = "") -> None:
    journal = session.journal("ada")
    LabelWriter(journal).decide(key, verdict, category=category)
    journal.close()


def write_list(
    session: Session, list_format: str, output: Path, select: Select = "both", **options: Any
) -> tuple[Exported, dict[str, Any]]:
    """Export at the threshold 0.5; the list and what its .json says."""
    done = export(session, list_format, select, 0.5, output, options=Options(**options))
    manifest: dict[str, Any] = json.loads(done.manifest_path.read_text())
    return done, manifest
