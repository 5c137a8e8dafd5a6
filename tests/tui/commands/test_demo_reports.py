from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.simulate.beamtime import Beamtime, Simulation, cryoet, tomo, write_beamtime
from photon_triage.core.simulate.volume import SliceTruth
from photon_triage.tui.commands.demo import cryoet_report, tell_cryoet, tell_tomo, tomo_report

from ...core.session.builders import build_session, file_row

DATASET = "/exchange/data"
SLICES = 3


class Simulated:
    """A simulation of one run, and a session that has read it and found what a test says."""

    def __init__(self, folder: Path, recipe: str, simulation: Simulation[SliceTruth]) -> None:
        self.data = folder / "data"
        self.truths: list[SliceTruth] = []
        write_beamtime(Beamtime(self.data, SLICES, seed=2), simulation, lambda count, truth: self.truths.append(truth))
        self.session: Session = build_session(folder / "session", {}, recipe)

    def found(self, results: list[FrameResult]) -> None:
        writer = ResultsWriter(self.session.results_path)
        path = str(self.data.resolve() / "run_0001.h5")
        writer.put_frames(writer.put_file(file_row(path, SLICES, dataset=DATASET)), results, now=100.0)
        writer.close()


def result(index: int, mask: ClassMap | None, points: tuple[tuple[int, int], ...] = ()) -> FrameResult:
    candidates = tuple(Candidate(x, y, 0.9) for x, y in points)
    return FrameResult(index, 1, True, candidates=candidates, mask=mask)


def test_masks_like_the_truth_score_one_whatever_their_order_of_classes(tmp_path: Path) -> None:
    made = Simulated(tmp_path, "tomo", tomo(96))
    names = made.truths[0].names
    masks = [ClassMap(3 - truth.classes, names[::-1]) for truth in made.truths]
    made.found([result(index, mask) for index, mask in enumerate(masks)])
    report = tomo_report(made.session, made.data)
    assert report["f1"] == 1.0 and report["pixels"] == SLICES * 96 * 96
    assert (report["labels"], report["frames_seen"]) == (SLICES, SLICES)
    assert list(report["classes"]) == list(names)
    assert all(
        scores == dict.fromkeys(("precision", "recall", "f1", "iou"), 1.0) for scores in report["classes"].values()
    )


def test_each_material_is_scored_by_its_pixels(tmp_path: Path) -> None:
    made = Simulated(tmp_path, "tomo", tomo(96))
    names = made.truths[0].names
    # Everything that is bone is taken for corrosion.
    masks = [np.where(truth.classes == 1, 2, truth.classes).astype(np.uint8) for truth in made.truths]
    made.found([result(index, ClassMap(mask, names)) for index, mask in enumerate(masks)])
    scores = tomo_report(made.session, made.data)["classes"]
    bone, corrosion = (sum(int((truth.classes == place).sum()) for truth in made.truths) for place in (1, 2))
    assert scores["bone"] == {"precision": None, "recall": 0.0, "f1": 0.0, "iou": 0.0}
    assert scores["corrosion"]["precision"] == pytest.approx(corrosion / (bone + corrosion))
    assert (scores["corrosion"]["recall"], scores["implant"]["f1"]) == (1.0, 1.0)


def test_a_mask_of_a_part_of_the_slice_is_held_against_that_part(tmp_path: Path) -> None:
    made = Simulated(tmp_path, "tomo", tomo(96))
    parts = [ClassMap(truth.classes[20:70, 30:90], truth.names, top=20, left=30) for truth in made.truths]
    made.found([result(index, mask) for index, mask in enumerate(parts)])
    report = tomo_report(made.session, made.data)
    assert report["f1"] == 1.0 and report["pixels"] == SLICES * 50 * 60


def test_a_slice_without_a_mask_is_all_background(tmp_path: Path) -> None:
    made = Simulated(tmp_path, "tomo", tomo(96))
    made.found([result(index, None) for index in range(SLICES)])
    report = tomo_report(made.session, made.data)
    assert report["f1"] == 0.0 and report["classes"]["background"]["recall"] == 1.0


def test_candidates_are_held_against_the_points(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Simulated(tmp_path, "cryoet", cryoet(256))
    total = sum(len(truth.points) for truth in made.truths)
    assert total > SLICES
    results = []
    for index, truth in enumerate(made.truths):
        # One is missed on the first slice; on the others all are found some pixels away; one is made up everywhere.
        found = tuple((x + 4, y - 3) for x, y in truth.points[index == 0 :])
        results.append(result(index, ClassMap(truth.classes, truth.names), (*found, (5000, 5000))))
    made.found(results)
    report = cryoet_report(made.session, made.data)
    assert (report["tp"], report["fn"], report["fp"]) == (total - 1, 1, SLICES)
    assert (report["labels"], report["candidates"]) == (total, total - 1 + SLICES)
    assert report["precision"] == pytest.approx((total - 1) / (total - 1 + SLICES))
    low, high = report["recall_interval"]
    assert low < report["recall"] < high
    assert report["membrane"]["f1"] == 1.0
    tell_cryoet(report)
    out = capsys.readouterr().out
    assert f"against the {total} injectisomes" in out and f"{report['recall']:.3f}" in out


def test_the_words_name_every_material(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Simulated(tmp_path, "tomo", tomo(96))
    made.found([result(index, None) for index in range(SLICES)])
    tell_tomo(tomo_report(made.session, made.data))
    out = capsys.readouterr().out
    assert all(name in out for name in made.truths[0].names) and "undefined" in out
