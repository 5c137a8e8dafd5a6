from __future__ import annotations

import numpy as np

from photon_triage.core.simulate.tomo import BONE, CLASSES, CORROSION, IMPLANT, TomoRun, draw_drift

SIZE = 160


def agreement(first: int, second: int) -> float:
    run = TomoRun(1, 1, SIZE)
    one, other = (run.frame(index)[1].classes for index in (first, second))
    return float(np.mean(one == other))


def test_a_slice_is_the_same_in_any_order() -> None:
    forward, backward = TomoRun(5, 1, SIZE), TomoRun(5, 1, SIZE)
    slices = [forward.frame(index) for index in range(4)]
    for index in (3, 0):
        grey, truth = backward.frame(index)
        assert np.array_equal(grey, slices[index][0])
        assert np.array_equal(truth.classes, slices[index][1].classes)


def test_slices_differ_between_seeds_and_runs() -> None:
    truths = [TomoRun(seed, run, SIZE).frame(0)[1].classes for seed, run in ((1, 1), (1, 2), (2, 1))]
    assert not np.array_equal(truths[0], truths[1]) and not np.array_equal(truths[0], truths[2])


def test_a_volume_changes_smoothly_with_z() -> None:
    assert agreement(0, 1) > 0.95 > 0.9 > agreement(0, 60)


def test_every_class_is_brighter_than_the_one_before() -> None:
    for run in (1, 2, 3):
        grey, truth = TomoRun(3, run, SIZE).frame(2)
        assert truth.names == CLASSES and grey.shape == truth.classes.shape == (SIZE, SIZE)
        means = [grey[truth.classes == place].mean() for place in range(len(CLASSES))]
        assert means == sorted(means)


def test_corrosion_lies_about_the_implant() -> None:
    _, truth = TomoRun(3, 1, SIZE).frame(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    middle = [axis[truth.classes == IMPLANT].mean() for axis in (y, x)]
    away = np.hypot(y - middle[0], x - middle[1])
    reach = [np.median(away[truth.classes == place]) for place in (IMPLANT, CORROSION, BONE)]
    assert reach == sorted(reach)


def test_grey_values_have_noise_and_leave_the_gap_value_out() -> None:
    grey, truth = TomoRun(3, 1, SIZE).frame(0)
    assert grey.dtype == np.uint16 and grey.max() < np.iinfo(np.uint16).max
    implant = grey[truth.classes == IMPLANT]
    assert implant.std() > 0.03 * implant.mean()


def test_drift_changes_from_run_to_run() -> None:
    drifts = [draw_drift(1, run) for run in range(1, 20)]
    assert all(len({getattr(drift, name) for drift in drifts}) == 19 for name in vars(drifts[0]))
    assert draw_drift(1, 3) == drifts[2]
