from __future__ import annotations

import pytest
import torch

from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import ClassifyStage, PrepareTable, Roi
from photon_triage.core.stages.classify import Classify
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg
from photon_triage.models.darknet.detector import Detector, best_of_class

TABLE = ClassifyStage(kind="classify", model="m", threshold=0.3)
REGION = Roi(top=10, left=20, height=61, width=120)
NAMES = ("single", "multiple", "water", "streak", "other")


def classifier(size: int = 32) -> tuple[Classify, Detector, Preparation]:
    torch.manual_seed(2)
    detector = Detector(Darknet.from_cfg(shipped_cfg("hitnet")).eval(), NAMES)
    preparation = Preparation(PrepareTable(roi=REGION, full_scale=100), detector.network.input_size)
    return Classify(TABLE, detector, preparation, torch.device("cpu"), size=size), detector, preparation


def batch_of(count: int) -> Batch:
    frames = torch.poisson(torch.full((count, 90, 160), 3.0), generator=torch.Generator().manual_seed(1)).short()
    return Batch(tuple(FrameKey("f", "", index) for index in range(count)), frames, None, Geometry())


def test_the_score_is_what_the_network_says_of_a_single_hit() -> None:
    stage, detector, preparation = classifier()
    batch = batch_of(5)
    result = stage(batch)
    with torch.no_grad():
        plain = best_of_class(detector.network(preparation(batch.frames)), detector, 0)
    assert result.score is not None and torch.allclose(result.score, plain.scores, atol=1e-5)
    assert torch.equal(result.passed, result.score >= 0.3)


def test_the_batch_may_be_cut_in_parts() -> None:
    whole, parts = classifier(32)[0](batch_of(7)), classifier(3)[0](batch_of(7))
    assert whole.score is not None and parts.score is not None and torch.allclose(whole.score, parts.score, atol=1e-5)
    assert parts.detections is not None and len(parts.detections) == 7


def test_boxes_are_in_pixels_of_the_whole_frame() -> None:
    stage, detector, preparation = classifier()
    batch = batch_of(4)
    result = stage(batch)
    with torch.no_grad():
        plain = best_of_class(detector.network(preparation(batch.frames)), detector, 0)
    assert result.detections is not None
    for found, (x, y, w, h) in zip(result.detections, plain.boxes.tolist(), strict=True):
        assert len(found) == 1 and found[0].category in NAMES
        box = found[0].box
        center = (box.x + box.width / 2, box.y + box.height / 2)
        assert center == pytest.approx((20 + x * 120, 10 + y * 61), abs=0.1)
        assert (box.width, box.height) == pytest.approx((w * 120, h * 61), abs=0.1)


def test_a_detector_that_knows_no_single_hits_is_refused() -> None:
    _, detector, preparation = classifier()
    other = Detector(detector.network, ("a", "b", "c", "d", "e"))
    with pytest.raises(ModelError, match="'single'"):
        Classify(TABLE, other, preparation, torch.device("cpu"))
