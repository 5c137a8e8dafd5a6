"""The study in miniature: its frames, its rows, and that it goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.study import study as reference
from photon_triage.core.study import study as running
from photon_triage.core.study.data import SIZES, VARIANTS, StudyData, StudySize, cfg_of, study_data
from photon_triage.core.study.study import run_study, slug
from photon_triage.core.training.data.split import near
from photon_triage.models.darknet.darknet import Darknet

CPU = torch.device("cpu")
TINY = StudySize("tiny", 2, 1, (4, 8), (3, 6), 30, 4, 2, 4, last=2, rate=1e-3, shape=(64, 128), divisor=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def data(folder: Path) -> StudyData:
    return study_data(TINY, 1, folder / "data")


def test_labels_come_from_all_runs_or_the_first_and_never_from_beside_a_test_frame(data: StudyData) -> None:
    assert set(data.representative.training.runs) == set(data.test.runs) == {"run_0001", "run_0002"}
    assert set(data.first_runs.training.runs) == set(data.first_runs.validation.runs) == {"run_0001"}
    for selection in (data.representative, data.first_runs):
        assert (len(selection.training), len(selection.validation)) == (12, 9)
        assert (selection.training.positive.sum(), selection.validation.positive.sum()) == (4, 3)
        assert not near(selection.training.keys, (*data.test.keys, *selection.validation.keys)).any()
        assert not near(selection.validation.keys, data.test.keys).any()
    assert len(data.test) == 30


def test_networks_are_made_smaller_but_for_their_heads() -> None:
    small = SIZES["small"]
    for name in ("yolov2-seeds", "yolov3-1class", "residual-1class"):
        full = Darknet.from_cfg(cfg_of(name, SIZES["full"]))
        network = Darknet.from_cfg(cfg_of(name, small))
        assert network.input_size == small.shape
        assert [head.anchors for head in network.heads] == [head.anchors for head in full.heads]
        assert full.parameter_count() > 10 * network.parameter_count()
    assert cfg_of("hitnet", small) == cfg_of("hitnet", SIZES["full"])


def test_a_study_says_the_published_table_and_trains_nothing_twice(
    folder: Path, data: StudyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "find_spec", lambda name: None)
    variants = [replace(VARIANTS[0], network="residual-1class", colour="grey"), VARIANTS[-1]]

    def interrupted(what: str, done: int, planned: int, remark: str) -> None:
        if what == variants[1].name and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(folder, TINY, 1, CPU, interrupted, variants)
    begun: list[Any] = []
    report = run_study(folder, TINY, 1, CPU, lambda what, done, planned, remark: begun.append((what, done)), variants)
    assert begun[0] == (variants[1].name, 3), "the state after the second batch, which was checked"
    assert not report["reference"]["installed"]
    for row in report["variants"]:
        best, every, any_of_them = (row["selections"][name] for name in running.SELECTIONS)
        assert every["selected"] <= best["n"] == 30
        assert any_of_them["selected"] >= every["selected"] and any_of_them["intersection"] >= every["intersection"]
        assert [each["iteration"] for each in row["checkpoints"]] == [2, 4]
        assert row["parameters"] > 1000 and row["device"] == "cpu"
    monkeypatch.setattr(running, "train", None)
    assert run_study(folder, TINY, 1, CPU, variants=variants)["variants"] == report["variants"]
    with pytest.raises(TrainingError, match="another size or seed"):
        run_study(folder, TINY, 2, CPU, variants=variants)


def test_figures_are_those_of_the_counts(data: StudyData) -> None:
    true = {key for key, single in zip(data.test.keys, data.test.positive.tolist(), strict=True) if single}
    some = set(data.test.keys[:10])
    found = running.figures(some, data.test)
    assert (found["selected"], found["intersection"], found["n"]) == (10, len(some & true), 30)
    assert found["iou"] == len(some & true) / len(some | true)
    assert len({slug(variant.name) for variant in VARIANTS}) == len(VARIANTS)
