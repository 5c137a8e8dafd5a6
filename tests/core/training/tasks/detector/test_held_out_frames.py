"""What judges a model is never what it learned from, through the commands that train."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.engine.process import start_engine
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.split import NEIGHBOURS
from photon_triage.core.training.tasks.detector.dataset import Judges

from .....builders.detector_files import write_cxi
from .....tui.commands.test_cli import run
from .test_detector_job import CFG, RECIPE, disc_frames


@pytest.mark.parametrize("negatives", ["random", "hard"])
def test_no_frame_that_judges_a_detector_nor_a_neighbour_nor_a_copy_was_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], negatives: str
) -> None:
    session = Session.create(tmp_path / "session", RECIPE, "discs")
    (tmp_path / "data").mkdir()
    frames, positive = disc_frames(90, 5)
    for number in range(3):
        write_cxi(tmp_path / "data" / f"run_{number}.cxi", frames[30 * number : 30 * number + 30])
    shutil.copy(tmp_path / "data" / "run_0.cxi", tmp_path / "data" / "copy_0.cxi")
    assert start_engine(session, [tmp_path / "data"], once=True, patience=1).wait(60) == 0
    reader, writer = session.results(), LabelWriter(session.journal())
    for file in reader.files():
        first = 30 * int(Path(file.path).stem[-1])
        for index in range(0, 30, 2 if "copy" in file.path else 1):
            verdict = "accepted" if positive[first + index] else "rejected"
            writer.decide(FrameKey(file.path, file.dataset, index), verdict)  # type: ignore[arg-type]
    reader.close()
    judging: list[FrameKey] = []
    scores = Judges.scores

    def noted(judges: Judges, *given: Any) -> Any:
        judging.extend(judges.truth)
        return scores(judges, *given)

    monkeypatch.setattr(Judges, "scores", noted)
    (tmp_path / "discs.cfg").write_text(CFG)
    code, out, err = run(
        capsys, "train", str(session.path), "--model", str(tmp_path / "discs.cfg"), "--name", "discs",
        "--iterations", "4", "--negatives", negatives, "--device", "cpu", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    report = json.loads(out)
    with (session.path / "training" / "discs" / "trained_on.csv").open(newline="") as table:
        learned = {(_original(row["file"]), int(row["index"])) for row in csv.DictReader(table)}
    judged = {(_original(key.file), key.index) for key in judging}
    assert len(judged) >= 15 and report["representation"]["learned"] == report["trained_on"] > 20
    assert not any(
        file == other and abs(index - place) <= NEIGHBOURS for file, index in learned for other, place in judged
    )


def _original(file: str) -> str:
    return Path(file).name.replace("copy", "run")
