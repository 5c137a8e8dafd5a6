"""The parts of the screen that need no terminal: pictures, previews, columns, snapshots."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from photon_triage.core.common.errors import SourceError
from photon_triage.core.frames import Box, FrameKey
from photon_triage.core.recipe import parse_recipe
from photon_triage.core.session.store.preview import Preview, Previewer
from photon_triage.tui.snapshot.measured_rates import Paced
from photon_triage.tui.snapshot.snapshot import ListSpec, Request
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder
from photon_triage.tui.terminal.text import cells
from photon_triage.tui.widgets.columns import fit_columns, header
from photon_triage.tui.widgets.halfblock import Look, cells_of, letters_of, shades
from photon_triage.tui.widgets.rings import BOX, INVALID, LEVELS, Drawn

from .fake_session import HEIGHT, RECIPE, WIDTH, FakeSession, FakeSource

KEY = FrameKey("run.h5", "/entry/data", 0)


def flat(height: int, width: int) -> Preview:
    """A frame of ones."""
    pixels = np.ones((height, width), np.float32)
    return Preview(KEY, pixels, np.ones_like(pixels, dtype=bool), 0, 0, height, width)


def test_a_preview_is_cut_to_the_recipes_region_and_knows_where_it_lies() -> None:
    preview = Previewer(parse_recipe(RECIPE, "test"), FakeSource()).load(KEY)
    assert preview.pixels.shape == (48, 64) and (preview.top, preview.left) == (8, 16)
    assert (preview.frame_height, preview.frame_width) == (HEIGHT, WIDTH)


def test_the_whole_frame_can_be_asked_for() -> None:
    assert Previewer(parse_recipe(RECIPE, "test"), FakeSource()).load(KEY, whole=True).pixels.shape == (HEIGHT, WIDTH)


def test_negative_and_masked_pixels_are_invalid() -> None:
    class Masked(FakeSource):
        def mask(self, info: Any) -> NDArray[np.bool_] | None:
            mask = np.ones((HEIGHT, WIDTH), bool)
            mask[40, 50] = False
            return mask

    preview = Previewer(parse_recipe(RECIPE, "test"), Masked()).load(KEY, whole=True)
    assert not preview.valid[10, 20] and not preview.valid[40, 50] and preview.valid[30, 30]
    assert preview.pixels[~preview.valid].sum() == 0


def test_a_frame_that_is_gone_is_told() -> None:
    source = FakeSource()
    source.gone.add(KEY.file)
    with pytest.raises(SourceError, match="no such file"):
        Previewer(parse_recipe(RECIPE, "test"), source).load(KEY)


@pytest.mark.parametrize("shape", [(10, 10), (123, 240), (2162, 2068), (5, 400)])
@pytest.mark.parametrize("peaks", [True, False])
def test_a_picture_fits_its_pane_and_keeps_its_shape(shape: tuple[int, int], peaks: bool) -> None:
    picture = shades(flat(*shape), Drawn(), Look(peaks=peaks), 44, 34)
    rows, columns = picture.shape
    assert rows <= 34 and columns <= 44 and (rows == 34 or columns == 44)
    assert abs(columns / rows / (shape[1] / shape[0]) - 1) < 0.6


def test_a_box_is_drawn_where_the_detection_is() -> None:
    preview = replace(flat(40, 40), top=100, left=200)
    picture = shades(preview, Drawn([Box(210, 110, 10, 20)]), Look(), 40, 40)
    assert set(picture[10, 10:20]) == {BOX} and set(picture[29, 10:20]) == {BOX}
    assert set(picture[10:30, 10]) == {BOX} and set(picture[10:30, 19]) == {BOX}
    assert picture[15, 15] != BOX and picture[5, 5] != BOX


def test_a_box_outside_the_region_is_no_reason_to_fail() -> None:
    assert BOX not in shades(flat(40, 40), Drawn([Box(-100, -100, 20, 20), Box(400, 400, 9, 9)]), Look(), 20, 20)


def test_a_lone_bright_pixel_survives_where_spots_are_looked_for() -> None:
    preview = flat(400, 400)
    preview.pixels[:] = 0
    preview.pixels[201, 77] = 1000
    assert shades(preview, Drawn(), Look(peaks=True, clip=6), 40, 40).max() == LEVELS - 1


def test_a_frame_of_invalid_pixels_can_be_drawn() -> None:
    preview = replace(flat(20, 20), valid=np.zeros((20, 20), bool), pixels=np.zeros((20, 20), np.float32))
    assert set(shades(preview, Drawn(), Look(), 20, 20).ravel()) == {INVALID}


@pytest.mark.parametrize("rows", [20, 21])
def test_cells_and_letters_hold_two_rows_each(rows: int) -> None:
    picture = np.arange(rows * 30, dtype=np.uint8).reshape(rows, 30) % (LEVELS + 2)
    for lines in (cells_of(picture, "viridis"), letters_of(picture)):
        assert len(lines) == (rows + 1) // 2
        assert {sum(len(segment.text) for segment in line) for line in lines} == {30}


def test_without_colour_boxes_and_brightness_are_letters() -> None:
    picture = np.zeros((4, 3), np.uint8)
    picture[0] = [BOX, INVALID, LEVELS - 1]
    picture[1] = [0, INVALID, 0]
    assert letters_of(picture)[0][0].text == "ox@"


@pytest.mark.parametrize("width", range(20, 80, 7))
def test_columns_fill_exactly_the_width(width: int) -> None:
    assert cells(header(fit_columns(width, ("diameter_nm", "lit_pixels", "photons", "unknown_measure")))) == width


def test_a_paced_value_rests_in_proportion_to_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("photon_triage.tui.snapshot.measured_rates.time.monotonic", lambda: now[0])
    calls: list[int] = []

    def costly() -> int:
        calls.append(1)
        now[0] += 2.0
        return len(calls)

    paced = Paced(0)
    assert paced.get("a", costly) == 1
    assert paced.get("b", costly) == 1, "rests"
    assert paced.get("b", costly, now=True) == 2
    now[0] += 17.0
    assert paced.get("c", costly) == 3
    assert paced.get("c", costly, now=True) == 3, "the same key is never computed twice"


def test_a_snapshot_of_nothing_new_asks_nothing_but_the_version(hits: FakeSession) -> None:
    builder = SnapshotBuilder(hits.session)
    first = builder.build(Request(serial=1))
    assert first.ids is not None and len(first.ids) == 40
    assert builder._reader is not None
    asked: list[str] = []
    builder._reader._db.set_trace_callback(asked.append)
    again = builder.build(Request(serial=1))
    assert again.ids is None and asked == ["PRAGMA data_version"]
    builder.close()


def test_a_frozen_list_is_not_read_again(hits: FakeSession) -> None:
    builder = SnapshotBuilder(hits.session)
    builder.build(Request(serial=1))
    hits.add_frames(2)
    assert builder.build(Request(serial=1, live=False)).ids is None
    anew = builder.build(Request(spec=ListSpec(order="newest"), serial=2, live=False)).ids
    assert anew is not None and anew[0] == 42
    builder.close()


def test_opening_the_screen_loads_nothing_heavy() -> None:
    heavy = ("torch", "h5py", "tifffile", "photon_triage.core.engine", "photon_triage.core.stages")
    code = f"import sys, photon_triage.tui.app; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
