"""Frames without a usable pixel: no stage gives them a result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from photon_triage.core.frames import Batch, FrameKey, Geometry
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import ClassifyStage, LitPixelsStage, PrepareTable, Roi
from photon_triage.core.stages.cascade import UnusableFrameError, counts_in, image_in
from photon_triage.core.stages.classify import Classify, ClassifyProfile
from photon_triage.core.stages.rings import RingSums
from photon_triage.core.stages.spots import LitPixels
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg
from photon_triage.models.darknet.detector import Detector
from photon_triage.models.nets.radial_net import ProfileClassifier, RadialNet

ROI = Roi(top=3, left=5, height=20, width=25)
GEOMETRY = Geometry(8000.0, 0.1, 1e-4, 20.0, 15.0)
CPU = torch.device("cpu")


def batch_of(raw: np.ndarray, valid: np.ndarray | None = None) -> Batch:
    keys = tuple(FrameKey("f", "", index) for index in range(len(raw)))
    return Batch(keys, torch.from_numpy(raw), None if valid is None else torch.from_numpy(valid), GEOMETRY)


def blank_in(region: Roi, dtype: str, value: float) -> np.ndarray:
    """Three frames, the second without a usable pixel in a region."""
    raw = np.ones((3, 40, 50), dtype)
    raw[1, region.rows, region.columns] = value
    return raw


def outside(region: Roi) -> np.ndarray:
    """A mask that leaves what is outside a region."""
    valid = np.ones((40, 50), bool)
    valid[region.rows, region.columns] = False
    return valid


@pytest.mark.parametrize("look", [counts_in, image_in])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_frame_that_is_not_finite_in_the_region_is_refused(
    look: Callable[[Batch, Roi | None], tuple[Tensor, Tensor]], value: float
) -> None:
    raw = blank_in(ROI, "f4", value)
    with pytest.raises(UnusableFrameError, match="none of its pixels can be used: all are masked, gaps or not finite"):
        look(batch_of(raw), ROI)
    assert look(batch_of(raw), None)[1].any()

    raw[1, ROI.top + 7, ROI.left + 9] = 4
    assert int(look(batch_of(raw), ROI)[1][1].sum()) == 1


@pytest.mark.parametrize(("dtype", "value"), [("i2", -1), ("i4", -2), ("u2", 65535), ("u4", 2**32 - 1), ("f8", -1)])
def test_a_frame_of_gaps_is_refused(dtype: str, value: float) -> None:
    with pytest.raises(UnusableFrameError):
        counts_in(batch_of(blank_in(ROI, dtype, value)), ROI)


@pytest.mark.parametrize("look", [counts_in, image_in])
def test_a_mask_that_leaves_nothing_of_the_region_is_told(
    look: Callable[[Batch, Roi | None], tuple[Tensor, Tensor]],
) -> None:
    batch = batch_of(np.ones((2, 40, 50), "u2"), outside(ROI))
    with pytest.raises(UnusableFrameError):
        look(batch, ROI)
    assert look(batch, None)[1].any()


def test_what_the_mask_leaves_may_be_gaps() -> None:
    raw = np.ones((2, 40, 50), "i4")
    raw[1][outside(ROI)] = -1
    with pytest.raises(UnusableFrameError):
        counts_in(batch_of(raw, outside(ROI)), None)


def test_zeros_are_counts() -> None:
    counts, usable = counts_in(batch_of(np.zeros((2, 40, 50), "u2")), ROI)
    assert usable.all() and not counts.any()


def test_a_hit_finder_gives_no_result() -> None:
    with pytest.raises(UnusableFrameError):
        LitPixels(LitPixelsStage(kind="lit-pixels"), ROI)(batch_of(blank_in(ROI, "f4", np.nan)))


def test_a_detector_gives_no_result() -> None:
    detector = Detector(Darknet.from_cfg(shipped_cfg("hitnet")).eval(), ("single", "a", "b", "c", "d"))
    preparation = Preparation(PrepareTable(roi=ROI), detector.network.input_size)
    stage = Classify(ClassifyStage(kind="classify", model="m"), detector, preparation, CPU, size=2)
    raw = blank_in(ROI, "f4", np.nan)
    with pytest.raises(UnusableFrameError):
        stage(batch_of(raw))
    assert len(stage(batch_of(raw[::2])).passed) == 2


def test_a_network_on_profiles_gives_no_result_where_no_ring_has_a_pixel() -> None:
    network = RadialNet(bins=32, q_max=0.5)
    stage = ClassifyProfile(
        ClassifyStage(kind="classify", model="m"), ProfileClassifier(network, ("single", "other")), CPU, ROI
    )
    batch = batch_of(blank_in(ROI, "i4", -1))
    with pytest.raises(UnusableFrameError):
        stage(batch)
    assert not RingSums(32, 0.5, ROI)(batch)[1][1].any(), "rings themselves are without pixels"
