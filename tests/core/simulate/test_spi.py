from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.simulate.spi import (
    LOG10_PHOTONS,
    ROI_COLUMNS,
    ROI_ROWS,
    SHARES,
    SpiRun,
    _poisson,
    detector_mask,
    draw_drift,
)


def test_a_frame_is_the_same_in_any_order() -> None:
    forward, backward = SpiRun(5, 1), SpiRun(5, 1)
    frames = [forward.frame(index)[0] for index in range(3)]
    for index in (2, 0):
        assert np.array_equal(backward.frame(index)[0], frames[index])


def test_frames_differ_between_seeds_and_runs() -> None:
    frames = [SpiRun(seed, run).frame(0)[0] for seed, run in ((1, 1), (1, 2), (2, 1))]
    assert not np.array_equal(frames[0], frames[1]) and not np.array_equal(frames[0], frames[2])


def test_drift_changes_from_run_to_run() -> None:
    drifts = [draw_drift(1, run, 0.25) for run in range(1, 30)]
    for name in ("background", "halo", "center_x", "center_y", "blanks", "size_nm", "log10_fluence", "gap_heat"):
        values = [getattr(drift, name) for drift in drifts]
        assert len(set(values)) > 20, name
    assert draw_drift(1, 3, 0.25) == drifts[2]


def test_another_beamtime_drifts_where_the_usual_one_never_was() -> None:
    for run in range(1, 10):
        usual, strong = draw_drift(1, run, 0.25), draw_drift(1, run, 0.25, "strong")
        assert usual.gain == 1 and strong.gain > 1.3
        assert strong.background > 2 * usual.background and strong.halo >= 1 >= usual.halo


def test_the_gain_is_in_every_count() -> None:
    run = SpiRun(2, 1, blanks=1.0, drift="strong")
    photons = np.arange(20, dtype=np.int16)
    assert np.array_equal(run._read_out(photons), np.rint(photons * run.drift.gain))
    frame, _ = run.frame(0)
    assert set(np.unique(frame).tolist()) <= set(run._read_out(photons).tolist())


def test_bad_pixels_count_nothing() -> None:
    frame, _ = SpiRun(1, 1).frame(1)
    assert frame.shape == (512, 1024) and frame.dtype == np.int16
    assert not frame[detector_mask() != 0].any() and frame.min() >= 0


def test_every_class_comes_up_with_its_photons() -> None:
    run = SpiRun(3, 1, blanks=0.1)
    truths = [run.frame(index)[1] for index in range(150)]
    assert {truth.category for truth in truths} == {"blank", *SHARES}
    low, high = (10 ** (edge + run.drift.log10_fluence) for edge in LOG10_PHOTONS)
    for truth in truths:
        if truth.category == "blank":
            assert truth.photons == 0
        else:
            assert 0.8 * low < truth.photons < 1.1 * high
        if truth.category == "single":
            assert 55 <= truth.diameter_nm <= 84


def test_blanks_hold_background_alone() -> None:
    run = SpiRun(3, 1, blanks=1.0)
    frame, truth = run.frame(0)
    expected = run._background[-1] if run.drift.blanks == 1 else frame.sum()
    assert truth.category == "blank" or run.drift.blanks < 1
    assert frame.sum() == pytest.approx(expected, abs=6 * np.sqrt(expected))


def test_photons_follow_poissons_law() -> None:
    rate = np.array([0.0, 0.2, 3.0, 10.0])
    rng = np.random.default_rng(0)
    counts = np.array([_poisson(np.cumsum(rate), rng) for _ in range(4000)])
    assert not counts[:, 0].any()
    assert counts.mean(0) == pytest.approx(rate, abs=0.2)
    assert counts.var(0) == pytest.approx(rate, rel=0.12)


def test_singles_can_be_made_more_frequent() -> None:
    run = SpiRun(1, 1, singles=0.5)
    assert run.shares["single"] == pytest.approx(0.5) and sum(run.shares.values()) == pytest.approx(1)
    assert run.shares["water"] / run.shares["streak"] == pytest.approx(SHARES["water"] / SHARES["streak"])


def test_the_region_is_that_of_the_published_experiment() -> None:
    assert (ROI_ROWS.stop - ROI_ROWS.start, ROI_COLUMNS.stop - ROI_COLUMNS.start) == (123, 240)
