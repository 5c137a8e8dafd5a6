from __future__ import annotations

import numpy as np

from photon_triage.core.simulate.cryoet import CLASSES, CryoetRun, draw_drift
from photon_triage.core.simulate.minicells import BASE_RADIUS, MEMBRANE_HALF, Minicell, Site

SIZE = 192


def test_a_slice_is_the_same_in_any_order() -> None:
    forward, backward = CryoetRun(5, 1, SIZE), CryoetRun(5, 1, SIZE)
    slices = [forward.frame(index) for index in range(4)]
    for index in (3, 0):
        grey, truth = backward.frame(index)
        assert np.array_equal(grey, slices[index][0])
        assert np.array_equal(truth.classes, slices[index][1].classes) and truth.points == slices[index][1].points


def test_slices_differ_between_seeds_and_runs() -> None:
    truths = [CryoetRun(seed, run, SIZE).frame(0)[1].classes for seed, run in ((1, 1), (1, 2), (2, 1))]
    assert not np.array_equal(truths[0], truths[1]) and not np.array_equal(truths[0], truths[2])


def test_membranes_are_darker_and_move_slowly() -> None:
    run = CryoetRun(2, 1, SIZE)
    grey, truth = run.frame(4)
    membrane = truth.classes == CLASSES.index("membrane")
    assert grey.dtype == np.uint8 and grey.shape == truth.classes.shape == (SIZE, SIZE)
    assert 0.02 < membrane.mean() < 0.25
    assert grey[membrane].mean() < grey[~membrane].mean() - 10
    both = membrane & (run.frame(5)[1].classes > 0)
    assert both.sum() > 0.8 * membrane.sum()


def test_points_lie_on_membranes_in_several_slices() -> None:
    run = CryoetRun(2, 1, SIZE)
    truths = [run.frame(index)[1] for index in range(40)]
    points = [(index, *point) for index, truth in enumerate(truths) for point in truth.points]
    assert len(points) > 10
    assert all(truths[index].classes[y, x] == 1 for index, x, y in points)
    again = [
        any(np.hypot(x - a, y - b) < 6 for a, b in truths[index + 1].points) for index, x, y in points if index < 39
    ]
    assert np.mean(again) > 0.7


def test_objects_stand_out_from_the_membranes_that_carry_them() -> None:
    run = CryoetRun(2, 1, SIZE)
    inside, elsewhere = [], []
    for index in range(0, 30, 3):
        grey, truth = run.frame(index)
        rows, columns = np.nonzero(truth.classes)
        for x, y in truth.points:
            near = np.hypot(columns - x, rows - y) < 8
            inside.append(grey[rows[near], columns[near]].mean())
            elsewhere.append(grey[rows[~near], columns[~near]].mean())
    assert np.mean(inside) < np.mean(elsewhere) - 10


def test_the_membranes_lie_where_the_outline_is() -> None:
    cell = Minicell((1, 1), (100.0, 90.0), 70.0, 17.0)
    y, x = np.mgrid[:200, :200].astype(np.float32)
    outer, inner = cell.depths(y, x, 30.0)
    assert np.all(inner > outer) and 12 < float(np.median(inner - outer)) < 22
    for angle in np.linspace(0, 6, 7):
        down, right, normal = cell.place(Site("particle", float(angle), 30.0, 0.0, 20.0, 0.0), 30.0)
        assert abs(outer[round(down), round(right)]) < 1.5
        further = outer[round(down + 6 * np.sin(normal)), round(right + 6 * np.cos(normal))]
        assert abs(further - 6) < 2 and further > MEMBRANE_HALF


def test_objects_on_one_cell_keep_apart() -> None:
    cell = Minicell((3, 1), (0.0, 0.0), 110.0, 17.0)
    for z in range(0, 300, 7):
        places = np.array([cell.place(site, float(z))[:2] for site in cell.sites(float(z))]).reshape(-1, 2)
        apart = np.hypot(*(places[:, None] - places[None, :]).transpose(2, 0, 1))[np.triu_indices(len(places), 1)]
        assert not len(apart) or apart.min() > 12


def test_an_object_fades_out_with_its_distance() -> None:
    site = Site("particle", 0.0, 50.0, 0.0, 20.0, 0.0)
    assert site.share(50.0) == 1 and site.share(50.0 + BASE_RADIUS) == 0
    assert site.is_object(55.0) and not site.is_object(61.5)


def test_drift_changes_from_run_to_run() -> None:
    drifts = [draw_drift(1, run) for run in range(1, 20)]
    assert all(len({getattr(drift, name) for drift in drifts}) == 19 for name in vars(drifts[0]))
    assert draw_drift(1, 3) == drifts[2]
