"""How what is learned from differs from a beamtime is measured, and told before it costs anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import PrepareTable
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.training.evaluation.representativeness import (
    compared,
    distance_between,
    features_of,
    represent,
)
from photon_triage.models.darknet.darknet import Darknet

from ....tui.commands.test_cli import run
from ...session.builders import DATASET, build_session, file_row
from ..tasks.detector.test_detector_job import CFG, disc_frames

VALUES = st.lists(st.integers(0, 5), min_size=1, max_size=20)


@given(VALUES, VALUES)
def test_the_ks_statistic_is_the_greatest_distance_of_the_distribution_functions(
    one: list[int], other: list[int]
) -> None:
    expected = max(
        abs(sum(x <= value for x in one) / len(one) - sum(x <= value for x in other) / len(other)) for value in range(6)
    )
    measure = compared("size", np.array(one, float), np.array(other, float))
    assert measure is not None and measure.ks == pytest.approx(expected)


def test_a_measure_is_compared_in_standard_deviations_and_unknown_values_do_not_count() -> None:
    nan = float("nan")
    found = compared("size", np.array([1.0, 3.0, nan]), np.array([5.0, 7.0, nan]))
    assert found is not None and (found.learned, found.beamtime, found.ks) == (2, 6, 1)
    assert found.difference == pytest.approx(-4), "both vary by 1"
    assert compared("size", np.array([nan]), np.array([1.0])) is None
    same = compared("size", np.ones(3), np.ones(5))
    assert same is not None and same.difference == 0 and not same.is_apart
    shifted = compared("size", np.ones(30), np.full(50, 2.0))
    assert shifted is not None and shifted.difference is None and shifted.is_apart


def beamtime(folder: Path, drift: float, runs: int = 8) -> Session:
    """Runs of 50 frames with a number that rises from one run to the next by so many of its deviations."""
    session = build_session(folder, {})
    rng = np.random.default_rng(3)
    writer = ResultsWriter(session.results_path)
    for number in range(runs):
        rows = [
            FrameResult(index, 3, True, score=float(score), measures={"photons": 100 + drift * number + float(noise)})
            for index, (score, noise) in enumerate(zip(rng.random(50), rng.normal(size=50), strict=True))
        ]
        row = file_row(f"/data/{number}.h5", 50, run=f"r{number:04}")
        writer.put_frames(writer.put_file(row), rows, now=float(number))
    writer.close()
    return session


def frames(runs: range, step: int = 1) -> dict[FrameKey, bool]:
    keys = [FrameKey(f"/data/{run}.h5", DATASET, index) for run in runs for index in range(0, 50, step)]
    return {key: place % 2 == 0 for place, key in enumerate(keys)}


def test_first_runs_only_is_warned_of_where_later_runs_differ(tmp_path: Path) -> None:
    session = beamtime(tmp_path, drift=1.0)
    said = represent(session, frames(range(3)))
    assert said.later is not None and (said.later.runs, said.later.measure) == (5, "photons")
    assert said.later.share == 5 / 8 and said.later.ks > 0.5
    assert said.warnings[0].startswith("First runs only: the last 5 of 8 runs hold 62%")
    photons = next(each for each in said.measures if each.name == "photons")
    assert photons.is_apart and photons.difference is not None and photons.difference < -1
    assert said.run_difference == pytest.approx(5 / 8)


def test_frames_of_all_runs_stand_for_the_beamtime(tmp_path: Path) -> None:
    said = represent(beamtime(tmp_path, drift=1.0), frames(range(8), step=4))
    assert said.warnings == () and said.later is None and said.run_difference == pytest.approx(0)
    assert not any(each.is_apart for each in said.measures)
    assert (said.learned, said.accepted, said.rejected, said.elsewhere) == (104, 52, 52, 0)


def test_first_runs_do_where_later_ones_are_alike(tmp_path: Path) -> None:
    said = represent(beamtime(tmp_path, drift=0.0), frames(range(3)))
    assert said.later is not None and not said.later.differs and said.warnings == ()


def test_few_labels_of_few_runs_are_warned_of(tmp_path: Path) -> None:
    keys = {FrameKey("/data/0.h5", DATASET, 4).at(1, 2): True, FrameKey("/elsewhere.h5", "", 0): False}
    said = represent(beamtime(tmp_path, drift=0.0), keys)
    assert (said.learned, said.elsewhere) == (1, 1)
    told = " ".join(said.warnings)
    assert "Few runs: frames of 1 of 8" in told and "Few accepted frames: 1" in told and "Few rejected" in told
    assert represent(beamtime(tmp_path, drift=0.0), {}).learned == 0


def test_frames_unlike_any_learned_from_lie_far_away() -> None:
    rng = np.random.default_rng(0)
    learned, alike = rng.normal(size=(100, 3)), rng.normal(size=(100, 3))
    near, far = distance_between(learned, alike), distance_between(learned, alike + np.array([6.0, 0, 0]))
    assert near.ratio is not None and 0.8 < near.ratio < 1.25
    assert far.ratio is not None and far.ratio > 3 * near.ratio
    assert distance_between(np.ones((3, 2)), learned[:, :2]).ratio is None


def test_features_are_the_networks_own() -> None:
    counts, _ = disc_frames(40, 1)
    torch.manual_seed(0)
    network = Darknet.from_cfg(CFG).train()
    preparation = Preparation(PrepareTable(scale="linear", full_scale=20), (32, 32))
    found = features_of(network, preparation, counts, torch.device("cpu"))
    assert found.shape == (40, 16) and network.training
    assert np.array_equal(found, features_of(network, preparation, counts, torch.device("cpu")))


def test_the_command_reports_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = beamtime(tmp_path, drift=1.0)
    writer = LabelWriter(session.journal())
    for key, accepted in frames(range(2), step=5).items():
        writer.decide(key, "accepted" if accepted else "rejected")
    writer.queue = "audit"
    writer.decide(FrameKey("/data/7.h5", DATASET, 0), "accepted")
    code, out, err = run(capsys, "labels", "report", str(tmp_path))
    assert (code, err) == (0, "") and "Learned from: 20 of 400 frames" in out and "Warning: First runs only" in out
    code, out, _ = run(capsys, "labels", "report", str(tmp_path), "--json")
    said = json.loads(out)["representation"]
    assert code == 0 and said["learned"] == 20 and said["features"] is None and said["runs"][0]["learned"] == 10
