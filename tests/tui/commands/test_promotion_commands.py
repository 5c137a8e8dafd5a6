from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from photon_triage.core.session.decisions.labels import LabelWriter, Subject
from photon_triage.core.session.models.catalog import models_in_use
from photon_triage.core.session.models.promotion import promotions, shadow_of
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.models.common.checkpoint import save
from photon_triage.models.darknet.darknet import Darknet

from ...builders.detector_files import write_cxi
from ...core.session.builders import DATASET, ONE_CELL_CFG, file_row, key
from .test_cli import run

Capture = pytest.CaptureFixture[str]
FRAMES = 180

RECIPE = """name = "classify"
[prepare]
scale = "linear"
full_scale = 10
[[stages]]
kind = "lit-pixels"
min_lit_pixels = 2
[[stages]]
kind = "classify"
model = "old"
threshold = 0.5
"""


def add_model(session: Session, name: str, slope: float, bias: float) -> None:
    """A model whose score rises with the light in the first pixel by `slope`."""
    model = Darknet.from_cfg(ONE_CELL_CFG)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        convolution = next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d))
        assert convolution.bias is not None
        convolution.weight[4] = slope
        convolution.bias[4] = bias
    save(session.models_path / f"{name}.safetensors", model, {"name": name})


def bright_and_dim() -> NDArray[np.int32]:
    """The first half of the frames are bright, the others dim."""
    frames = np.full((FRAMES, 32, 32), 2, np.int32)
    frames[: FRAMES // 2] = 8
    return frames


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Bright frames are accepted, dim ones rejected; `old` selects all, `good` the bright ones, `bad` the dim ones."""
    made = Session.create(tmp_path / "session", RECIPE, "classify")
    add_model(made, "old", 0.0, 2.0)
    add_model(made, "good", 10.0, -5.0)
    add_model(made, "bad", -10.0, 5.0)
    path = str(tmp_path / "run.cxi")
    write_cxi(tmp_path / "run.cxi", bright_and_dim())
    writer = ResultsWriter(made.results_path)
    file_id = writer.put_file(file_row(path, FRAMES, height=32, width=32, dataset=DATASET))
    writer.put_frames(file_id, [FrameResult(i, 2, True, 0.881, "old") for i in range(FRAMES)], now=100.0)
    writer.close()
    labels = LabelWriter(made.journal())
    half = FRAMES // 2
    labels.decide_all([Subject(key(path, index)) for index in range(0, half, 3)], "accepted")
    labels.decide_all([Subject(key(path, index)) for index in range(half, FRAMES, 3)], "rejected")
    return made


def models(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    return run(capsys, "models", *map(str, arguments))


def told(capsys: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    found, out, _ = models(capsys, *arguments, "--json")
    assert found == code
    report = json.loads(out)
    assert isinstance(report, dict)
    return report


def test_compare_scores_what_no_engine_has_and_says_how_both_do(session: Session, capsys: Capture) -> None:
    report = told(capsys, "compare", session.path, "good")
    assert (report["old_model"], report["new_model"], report["better"]) == ("old", "good", True)
    assert (report["n"], report["accepted"], report["judged_by"]) == (60, 30, "labels")
    assert report["old"]["precision"] == 0.5 and report["old"]["recall"] == 1
    assert report["new"]["f1"] == 1 and report["new"]["f1_interval"][0] < 1
    assert report["mcnemar"] == {"b": 0, "c": 30, "p": pytest.approx(2 / 2**30)}
    lost = report["changed"]["lost"]
    assert (lost["n"], lost["rejected"], report["changed"]["gained"]["n"]) == (30, 30, 0)
    assert models_in_use(session) == {"classify": "old"}


def test_a_better_model_is_promoted_and_rolled_back_by_whoever_wished_it(session: Session, capsys: Capture) -> None:
    assert told(capsys, "promote", session.path, "good", "--as", "ada")["promoted"]
    assert models_in_use(session) == {"classify": "good"} and promotions(session)[0].who == "ada"
    assert told(capsys, "rollback", session.path, "--as", "bob")["model"] == "old"
    assert models_in_use(session) == {"classify": "old"}
    code, _, err = models(capsys, "rollback", session.path)
    assert code == 1 and "no model was promoted" in err


def test_a_worse_model_is_refused_with_the_reason_unless_it_is_wished_anyway(session: Session, capsys: Capture) -> None:
    code, out, err = models(capsys, "promote", session.path, "bad", "--quiet")
    assert code == 1 and "not higher" in err and "not better" in out
    assert models_in_use(session) == {"classify": "old"}
    report = told(capsys, "promote", session.path, "bad", code=1)
    assert not report["promoted"] and "not higher" in report["reason"]
    assert told(capsys, "promote", session.path, "bad", "--anyway")["anyway"]
    assert models_in_use(session) == {"classify": "bad"} and promotions(session)[0].anyway


def test_the_model_in_use_is_not_compared_with_itself(session: Session, capsys: Capture) -> None:
    code, _, err = models(capsys, "compare", session.path, "old")
    assert code == 2 and "in use" in err


def test_a_shadow_is_set_and_taken_away(session: Session, capsys: Capture) -> None:
    assert models(capsys, "shadow", session.path, "good")[0] == 0 and shadow_of(session) == "good"
    assert models(capsys, "shadow", session.path, "--none")[0] == 0 and shadow_of(session) is None
    assert models(capsys, "shadow", session.path)[0] == 2


def test_for_people_compare_prints_both_and_what_changed_sides(session: Session, capsys: Capture) -> None:
    code, out, _ = models(capsys, "compare", session.path, "good", "--quiet")
    assert code == 0
    assert "only old right: 0, only good right: 30" in out and "selected by old alone: 30 of 60" in out
    assert out.rstrip().splitlines()[-1].startswith("better: F1 0.667")
