from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SessionError, TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.lineage import learned_by
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import normalisation_from
from photon_triage.core.training.dispatch import run_network_training, trains_network
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.patches.candidates import labelled_candidates
from photon_triage.core.training.tasks.segmentation.segmenter_job import accepted_masks
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.msd import MSDNet

from ..session.builders import file_row
from .builders import Scene, new_session, write_scenes

SMALL = {"patch": 20, "widths": [4, 8], "hidden": [16]}


def image_key(folder: Path, number: int) -> FrameKey:
    return FrameKey(str(folder / "images" / f"{number:02}.tif"), "", 0)


def record(folder: Path, session: Session, results: list[FrameResult]) -> None:
    """What an engine would have found on the images of a folder, one result each."""
    writer = ResultsWriter(session.results_path)
    for number, result in enumerate(results):
        row = file_row(image_key(folder, number).file, 1, dataset="", height=96, width=96, layout="tiff")
        writer.put_frames(writer.put_file(row), [result], now=1.0)
    writer.close()


def off_discs(drawn: Scene, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Three points that are on no disc."""
    rows, columns = np.nonzero(~drawn.discs)
    return [(int(columns[each]), int(rows[each])) for each in rng.integers(len(rows), size=3)]


def labelled_session(folder: Path, count: int = 6) -> Session:
    """Discs accepted, other points rejected, one skipped, one on a file that is gone."""
    scenes = write_scenes(folder, count)
    session = new_session(folder / "session")
    record(folder, session, [FrameResult(0, 1, True, candidates=(Candidate(5, 6, 0.4),)) for _ in scenes])
    writer = LabelWriter(session.journal("ada"))
    rng = np.random.default_rng(0)
    for number, each in enumerate(scenes):
        for point in each.centres:
            writer.decide(image_key(folder, number).at(*point), "accepted")
        for point in off_discs(each, rng):
            writer.decide(image_key(folder, number).at(*point), "rejected")
    writer.decide(image_key(folder, 0).at(50, 50), "skipped")
    writer.decide(FrameKey(str(folder / "gone.tif"), "", 0, (4, 4)), "accepted")
    return session


def test_candidates_with_a_verdict_are_read(tmp_path: Path) -> None:
    session = labelled_session(tmp_path)
    labelled = labelled_candidates(session, session.labels().labels.values(), 12)
    assert len(labelled.images) == 6 and labelled.unreachable == 1
    assert (labelled.accepted.sum(), (~labelled.accepted).sum()) == (18, 18)
    for each in labelled.background:
        assert not each.elsewhere[6, 5], "a network found something there"
    for (place, y, x), accepted in zip(labelled.sites.tolist(), labelled.accepted.tolist(), strict=True):
        assert not labelled.background[place].elsewhere[y, x]
        assert not accepted or labelled.images[place].pixels[y, x] > 130


def test_labels_begin_a_patch_network_and_then_continue_it(tmp_path: Path) -> None:
    session = labelled_session(tmp_path)
    begin = NetworkJob(
        session, network="lenet", options=SMALL, iterations=120, rate=3e-3, batch=32, name="particles", device="cpu"
    )
    assert trains_network(begin)
    first = run_network_training(begin)
    report = first.report()
    assert (report["trained_on"], report["held_back"], report["unreachable"]) == (24, 12, 1)
    assert report["scores"]["particles"]["f1"] > 0.8
    assert report["evaluated_on"] == "12 ranked labels held out of training; not an estimate for the beamtime"
    assert first.entry.evaluated_on == report["evaluated_on"]
    assert read_metadata(first.entry.path)["data"]["accepted"] == 12
    follow = NetworkJob(session, base="particles", iterations=2, device="cpu")
    second = run_network_training(follow).report()
    assert list(second["scores"]) == ["particles", "particles-2"] and second["parent"] == "particles"
    assert second["scores"]["particles"] == report["scores"]["particles"], "the same held-back labels"


def test_a_new_patch_network_is_normalised_by_the_images_that_it_learns_from(tmp_path: Path) -> None:
    session = labelled_session(tmp_path)
    made = run_network_training(
        NetworkJob(session, network="lenet", options=SMALL, iterations=2, name="particles", device="cpu")
    )
    labelled = labelled_candidates(session, session.labels().labels.values(), 12)
    learned = learned_by(session, "particles").frames
    training = normalisation_from([image for image in labelled.images if image.key in learned])
    assert 0 < len(learned) < len(labelled.images)
    assert read_metadata(made.entry.path)["input"]["mean"] == pytest.approx(training.mean)
    assert training.mean != pytest.approx(normalisation_from(labelled.images).mean)


def test_too_few_labelled_candidates_are_told(tmp_path: Path) -> None:
    session = labelled_session(tmp_path, 1)
    with pytest.raises(TrainingError, match="of its 7 labelled candidates 6 can be read"):
        run_network_training(NetworkJob(session, network="lenet", options=SMALL))


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    session = new_session(tmp_path / "session")
    assert trains_network(NetworkJob(session))
    with pytest.raises(SessionError, match="none-yet"):
        run_network_training(NetworkJob(session))


def session_of_masks(folder: Path, accepted: int, **changes: Any) -> Session:
    scenes = write_scenes(folder, 6)
    session = new_session(folder / "session", "tomo")
    results = []
    for each in scenes:
        values = each.discs[8:88, 16:96].astype(np.uint8)
        mask = ClassMap(values, ("background", "disc"), top=8, left=16)
        results.append(FrameResult(0, 1, True, mask=mask))
    record(folder, session, results)
    writer = LabelWriter(session.journal("ada"))
    for number in range(6):
        writer.decide(image_key(folder, number), "accepted" if number < accepted else "rejected")
    return session


def test_accepted_masks_are_read_with_their_part_of_the_frame(tmp_path: Path) -> None:
    session = session_of_masks(tmp_path, 3)
    mapped, classes = accepted_masks(session, session.labels().labels.values())
    assert len(mapped) == 3 and classes == ("background", "disc")
    for each in mapped:
        assert each.image.shape == each.classes.shape == (80, 80) and VOID not in each.classes
        assert each.image.pixels[each.classes == 1].mean() > each.image.pixels[each.classes == 0].mean() + 30


def test_accepted_masks_train_a_segmenter(tmp_path: Path) -> None:
    session = session_of_masks(tmp_path, 6)
    torch.manual_seed(0)
    job = NetworkJob(
        session, network="msd", options={"depth": 4}, iterations=25, rate=1e-2, batch=2, crop=64, name="a", device="cpu"
    )
    report = run_network_training(job).report()
    assert report["trained_on"] == 3 and report["scores"]["a"]["n"] == 80 * 80 and report["scores"]["a"]["f1"] > 0.3
    assert MSDNet(depth=4).architecture["family"] == report["family"]
    assert report["evaluated_on"].startswith("1 frames with accepted masks held out of training")


def test_too_few_accepted_masks_are_told(tmp_path: Path) -> None:
    session = session_of_masks(tmp_path, 1)
    with pytest.raises(TrainingError, match="of its 1 accepted frames 1 have a mask"):
        run_network_training(NetworkJob(session, network="msd"))


def test_masks_need_images(tmp_path: Path) -> None:
    session = new_session(tmp_path / "session")
    job = NetworkJob(session, masks=(tmp_path,))
    assert trains_network(job)
    with pytest.raises(TrainingError, match="--masks was given without --images"):
        run_network_training(job)
