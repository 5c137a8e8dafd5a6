"""Stages say the same of a window of the frames as of whole frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from photon_triage.core.frames import Batch, FrameKey, Geometry, Window, as_counts
from photon_triage.core.prepare import Preparation, counts_of
from photon_triage.core.recipe import LitPixelsStage, PrepareTable, Recipe, Roi, SizeStage, SpotsStage, load_recipe
from photon_triage.core.stages.cascade import counts_in
from photon_triage.core.stages.size import Size
from photon_triage.core.stages.spots import LitPixels

ROI = Roi(top=4, left=30, height=40, width=50)
WINDOW = Window(2, 25, 50, 60)
GEOMETRY = Geometry(1700.0, 0.13, 75e-6, 55.0, -4.0)


def batches() -> tuple[Batch, Batch]:
    """A batch of whole frames with gaps and a mask, and the window of it."""
    rng = np.random.default_rng(2)
    frames = rng.poisson(2.0, (6, 64, 96)).astype("u2")
    frames[:, 7, 40] = 65535
    valid = torch.from_numpy(rng.random((64, 96)) > 0.1)
    keys = tuple(FrameKey("f", "", index) for index in range(6))
    part = torch.from_numpy(frames[:, WINDOW.rows, WINDOW.columns].copy())
    whole = Batch(keys, torch.from_numpy(frames), valid, GEOMETRY)
    return whole, Batch(keys, part, valid, GEOMETRY, window=WINDOW, whole=(64, 96))


@pytest.mark.parametrize(
    "stage",
    [
        LitPixels(LitPixelsStage(kind="lit-pixels", signal_radius=30), ROI),
        Size(SizeStage(kind="size", min_diameter_nm=20, max_diameter_nm=160), ROI),
    ],
)
def test_stages_measure_the_same_in_a_window(stage: Any) -> None:
    whole, window = map(stage, batches())

    for name, values in whole.columns.items():
        torch.testing.assert_close(window.columns[name], values, rtol=0, atol=0)


def test_a_network_sees_the_same_in_a_window() -> None:
    whole, window = batches()
    bad = np.zeros((64, 96), bool)
    bad[10, 35:70] = True
    prepare = Preparation(PrepareTable(roi=ROI), (32, 32), bad=bad, dark=np.full((64, 96), 0.5))

    expected = prepare(whole.frames[1:4], whole.valid)

    torch.testing.assert_close(prepare.batch(window, torch.device("cpu"), 1, 4), expected, rtol=0, atol=0)


def test_what_was_selected_keeps_its_window() -> None:
    chosen = batches()[1].select(torch.tensor([True, False] * 3))

    assert (len(chosen), chosen.shape, chosen.window) == (3, (64, 96), WINDOW)


def test_pixels_outside_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="inside"):
        batches()[1].cut(slice(0, 10), slice(30, 40))


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8", "i2", "u1", "f4"])
def test_the_largest_unsigned_number_is_a_gap(dtype: str) -> None:
    top = 255 if dtype == "u1" else np.iinfo(dtype).max if dtype != "f4" else 9
    counts = counts_of(torch.from_numpy(np.array([[0, 7, top - 1, top]], dtype)))[0].tolist()

    assert counts[:3] == [0, 7, np.float32(top - 1)]
    assert counts[3] == (-1 if dtype in ("u2", "u4", "u8") else np.float32(top))


@pytest.mark.parametrize("dtype", ["u2", "u4", "u8"])
def test_the_largest_number_of_16_bits_is_saturated_where_a_mask_tells_the_gaps(dtype: str) -> None:
    raw = np.array([[0, 7, np.iinfo(dtype).max]], dtype)
    expected = [[0, 7, 65535 if dtype == "u2" else -1]]

    assert counts_of(torch.from_numpy(raw), masked=True).tolist() == expected
    assert as_counts(raw, np.ones(raw.shape, bool)).tolist() == expected
    assert as_counts(raw).tolist() == [[0, 7, -1]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_is_a_gap_on_every_way_to_a_network(value: float) -> None:
    raw = np.ones((2, 40, 50))
    raw[0, 3, 4] = value
    frames = torch.from_numpy(raw)
    batch = Batch(tuple(FrameKey("f", "", index) for index in range(2)), frames, None, Geometry())
    prepare = Preparation(PrepareTable(), (16, 16), dark=np.full((40, 50), 0.25))

    counts, usable = counts_in(batch, None)
    assert (int(counts[0].sum()), bool(usable[0, 3, 4]), int(usable.sum())) == (1999, False, 3999)
    network_input = prepare.batch(batch, torch.device("cpu"), 0, 2)
    assert network_input.isfinite().all() and 0 <= network_input.min() <= network_input.max() <= 1
    torch.testing.assert_close(network_input, prepare(frames))


def test_a_dark_that_is_not_finite_makes_a_pixel_bad() -> None:
    dark = np.zeros((40, 50))
    dark[3, 4], dark[5, 6] = np.nan, np.inf
    prepare = Preparation(PrepareTable(), (16, 16), dark=dark)

    region = prepare.region(torch.ones(1, 40, 50))

    assert region.sum() == 40 * 50 - 2


def test_a_recipes_window_holds_all_that_its_stages_look_at() -> None:
    lit = LitPixelsStage(kind="lit-pixels", roi=Roi(top=20, left=5, height=10, width=10))
    size = SizeStage(kind="size", min_diameter_nm=50, max_diameter_nm=80)
    spots = SpotsStage(kind="spots")
    prepare = PrepareTable(roi=ROI)

    assert Recipe(name="a", stages=(lit, size), prepare=prepare).window == Window(4, 5, 40, 75)
    assert Recipe(name="a", stages=(lit, size)).window is None, "the size stage looks at whole frames"
    assert Recipe(name="a", stages=(spots, size), prepare=prepare).window is None
    assert load_recipe("spi").window == Window(0, 392, 123, 240)
