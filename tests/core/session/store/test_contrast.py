from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import load_recipe
from photon_triage.core.report.figures import thumbnail
from photon_triage.core.session.store.contrast import CLIPS, reduced
from photon_triage.core.session.store.preview import Preview, Previewer

SIDE = 600
USUAL = CLIPS.index(99.0)
SIZES = [(18, 12), (44, 40), (74, 56), (190, 104), (700, 700)]
PEAKS = [(60 + 80 * row, 75 + 75 * column) for row in range(7) for column in range(7)]


def preview_of(pixels: NDArray[Any], valid: NDArray[np.bool_] | None = None, *, counts: bool = True) -> Preview:
    valid = np.ones(pixels.shape, bool) if valid is None else valid
    height, width = pixels.shape
    shown = np.where(valid, pixels, 0).astype(np.float32)
    return Preview(FrameKey("a.h5", "", 0), shown, valid, 0, 0, height, width, counts=counts)


def crystal(*, peaks: bool = True) -> NDArray[np.float32]:
    """Counts of a scattering background that falls with the distance from the beam, and 49 Bragg peaks on it."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    frame: NDArray[np.float32] = (
        np.random.default_rng(0).poisson(1 + 8 * np.exp(-np.hypot(y, x) / 150)).astype(np.float32)
    )
    for row, column in PEAKS if peaks else ():
        frame[row - 1 : row + 2, column - 1 : column + 2] += np.array([[20, 60, 20], [60, 300, 60], [20, 60, 20]])
    return frame


@pytest.mark.parametrize(("width", "height"), SIZES[1:])
def test_bragg_peaks_are_bright_points_on_a_dark_background(width: int, height: int) -> None:
    shades = reduced(preview_of(crystal()), width, height, peaks=True).shades(USUAL, log=True)
    rows, columns = shades.shape
    places = [(row * rows // SIDE, column * columns // SIDE) for row, column in PEAKS]
    at_peaks = [shades[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].max() for row, column in places]
    assert np.median(shades) < 0.1 and np.mean(shades > 0.6) < 0.2
    assert min(at_peaks) > 0.7


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("peaks", [False, True])
def test_a_frame_without_peaks_is_dark(width: int, height: int, peaks: bool) -> None:
    flat = np.random.default_rng(0).poisson(100, (SIDE, SIDE))
    shades = reduced(preview_of(flat), width, height, peaks=peaks).shades(USUAL, log=True)
    assert np.percentile(shades, 99) < 0.65


def test_hot_pixels_and_masked_ones_do_not_set_the_limits() -> None:
    frame, spoilt, valid = crystal(), crystal(), np.ones((SIDE, SIDE), bool)
    places = np.random.default_rng(1).integers(0, SIDE, (2, 300))
    spoilt[places[0], places[1]] = 1e6
    hot = reduced(preview_of(spoilt), 74, 56, peaks=True)
    clean = reduced(preview_of(frame), 74, 56, peaks=True)
    assert hot.whites[USUAL] == pytest.approx(clean.whites[USUAL], rel=0.2) and hot.whites[-1] < 1000
    valid[:, 250:300] = False
    spoilt = frame.copy()
    spoilt[:, 250:300] = 1e6
    masked = reduced(preview_of(spoilt, valid), 74, 56, peaks=True)
    assert masked.whites[-1] < 1000 and masked.black < 20


def test_limits_of_an_image_are_those_of_its_means() -> None:
    rng = np.random.default_rng(0)
    slices = 100 + rng.normal(0, 30, (SIDE, SIDE))
    slices[200:400, 200:400] -= 20
    shades = reduced(preview_of(slices, counts=False), 74, 56, peaks=False).shades(USUAL, log=False)
    rows, columns = shades.shape
    inside = shades[rows * 2 // 5 : rows * 3 // 5, columns * 2 // 5 : columns * 3 // 5]
    outside = shades[: rows // 5]
    assert outside.mean() - inside.mean() > 0.4


def test_grey_values_below_zero_are_shown() -> None:
    ramp = np.tile(np.linspace(-5, -1, 100), (100, 1))
    shades = reduced(preview_of(ramp, counts=False), 50, 50, peaks=False).shades(USUAL, log=False)
    assert shades[0, 0] == 0 and shades[0, -1] == 1 and 0.4 < shades[0, 25] < 0.6


def test_thumbnails_of_a_report_show_bragg_peaks() -> None:
    made = np.asarray(Image.open(io.BytesIO(thumbnail(preview_of(crystal()), log=True, peaks=True))))
    assert np.median(made) < 25
    assert min(made[row * 240 // SIDE, column * 240 // SIDE] for row, column in PEAKS) > 150


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_the_largest_unsigned_value_is_a_gap(dtype: type[np.unsignedinteger[Any]]) -> None:
    frame = np.full((1, 8, 8), 3, dtype)
    frame[0, 2] = np.iinfo(dtype).max

    class Source:
        def inspect(self, path: str, dataset: str | None = None) -> None: ...

        def read(self, path: str, dataset: str, start: int, stop: int) -> NDArray[Any]:
            return frame

        def mask(self, info: Any) -> None: ...

        def close(self) -> None: ...

    preview = Previewer(load_recipe("sfx"), Source()).load(FrameKey("a.h5", "", 0))
    assert preview.counts and not preview.valid[2].any() and preview.valid.sum() == 56 and preview.pixels.max() == 3


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.floats(0, 2.0**100, width=32)
    ),
    st.integers(1, 20),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_shades_are_between_black_and_white(
    pixels: NDArray[np.float32], side: int, peaks: bool, log: bool, counts: bool
) -> None:
    valid = pixels.astype(np.float64) * 7 % 3 < 2
    frame = reduced(preview_of(pixels, valid, counts=counts), side, side, peaks=peaks)
    for clip in range(len(CLIPS)):
        shades = frame.shades(clip, log=log)
        assert shades.shape == frame.valid.shape and 0 <= shades.min() <= shades.max() <= 1
