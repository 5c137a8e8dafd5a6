"""What is drawn on and below the picture: rings, the radial profile, neighbours; and what is read ahead."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.session.store.preview import Preview, Previewer
from photon_triage.core.session.store.rows import FrameResult, FrameRow
from photon_triage.tui.screens.main.triage import Visit
from photon_triage.tui.widgets import pictures
from photon_triage.tui.widgets.halfblock import MAPS, Look, colour_at
from photon_triage.tui.widgets.neighbours import NeighbourPane
from photon_triage.tui.widgets.pictures import Gallery, PictureTarget
from photon_triage.tui.widgets.radial import RadialPane
from photon_triage.tui.widgets.rings import Rings, rings_of
from photon_triage.tui.widgets.rows import RowStore

from ..driver import SIZES, opened
from ..fake_session import HEIGHT, WIDTH, FakeSession, FakeSource

GEOMETRY = Geometry(1700.0, 0.13, 75e-6 * 6, WIDTH / 2, HEIGHT / 2)
"""Large pixels, so that a small frame reaches as far in q as half a pnCCD."""
KEY = FrameKey("run.h5", "/entry/data", 0)


@pytest.fixture
def placed(fake: FakeSession) -> FakeSession:
    """Hits of which the geometry is known."""
    fake.add_file(geometry=GEOMETRY)
    fake.add_frames(40)
    fake.run_engine()
    return fake


def flat(height: int, width: int, top: int = 0, left: int = 0) -> Preview:
    pixels = np.ones((height, width), np.float32)
    return Preview(KEY, pixels, np.ones_like(pixels, dtype=bool), top, left, top + height, left + width)


@pytest.mark.parametrize("kind", ["q", "d"])
@pytest.mark.parametrize("scale", [0.02, 0.2, 1.0])
def test_rings_stand_at_round_values_and_are_told_apart(kind: str, scale: float) -> None:
    geometry = Geometry(12_400.0, 0.2, 75e-6, 1030.0, 1080.0)
    rings = rings_of(geometry, flat(2162, 2068), kind, scale)
    assert isinstance(rings, Rings)
    assert all(later - earlier >= 7 / scale for earlier, later in zip(rings.radii, rings.radii[1:], strict=False))
    values = [float(label) for label in rings.labels]
    assert values == sorted(values, reverse=kind == "d") and len(set(values)) == len(values)


def test_a_ring_is_drawn_at_its_radius_about_the_beam() -> None:
    preview = flat(100, 100, top=50, left=20)
    drawn = Rings(70.0, 100.0, (30.0,), ("x",)).on((100, 100), preview)
    y, x = np.nonzero(drawn)
    assert np.hypot(y - 50, x - 50) == pytest.approx(30, abs=1) and len(y) > 40


def test_labels_of_rings_do_not_meet_and_lie_inside() -> None:
    preview = flat(100, 200)
    rings = Rings(100.0, 0.0, (20.0, 24.0, 60.0, 95.0, 400.0), ("0.2", "0.24", "0.6", "0.95", "4.0"))
    texts = rings.texts((50, 100), preview)
    assert len(texts) >= 3
    assert all(0 <= line < 25 and 0 <= column <= 100 - len(text) for line, column, text in texts)


@pytest.mark.parametrize(("field", "word"), [("beam_center_x", "beam centre"), ("detector_distance", "distance")])
def test_without_geometry_there_are_no_rings_and_the_reason_is_told(field: str, word: str) -> None:
    told = rings_of(replace(GEOMETRY, **{field: None}), flat(48, 64), "q", 1.0)
    assert isinstance(told, str) and word in told


async def test_rings_are_shown_and_changed_with_their_key(placed: FakeSession) -> None:
    async with opened(placed, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.shows("rings q/nm⁻¹", "0.5")
        await driver.press("r")
        await driver.shows("rings d/Å", "rings at the resolution d in Å")
        await driver.press("r")
        await driver.shows("no rings")
        assert "rings d" not in driver.text()


async def test_the_pane_says_why_there_are_no_rings(hits: FakeSession) -> None:
    async with opened(hits, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.shows("no rings: geometry unknown")
        await driver.shows("none: the beam centre is known neither from the file nor from the recipe")
        await driver.press("r")
        await driver.shows("the recipe's [geometry] can tell it")


@pytest.mark.parametrize("size", SIZES)
async def test_the_radial_profile_stands_below_the_large_picture(placed: FakeSession, size: str) -> None:
    async with opened(placed, SIZES[size]) as driver:
        await driver.ready()
        pane = driver.main.query_one(RadialPane)
        assert pane.display == (size == "wide")
        if size != "wide":
            await driver.press("enter")
        await driver.shows("Radial profile", "sphere of 70.5 nm", "nm⁻¹ · log", "█")
        await driver.shows("sphere ┤" if size == "narrow" else "○○")
        await driver.press("i")
        await driver.until(lambda: not pane.display)
        await driver.press("i")
        await driver.shows("Radial profile")


async def test_neighbours_in_the_run_are_shown_and_visited(placed: FakeSession) -> None:
    placed.label({1: "rejected"})
    async with opened(placed, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("j", "j")
        await driver.shows("#0001 .980 X │ ▶#0002 .970 ? │ #0003 .960 ?")
        await driver.press("greater_than_sign")
        await driver.shows("frame 4  (+1 in the run)")
        assert driver.list.selected == 3
        await driver.press("greater_than_sign")
        await driver.shows("frame 5  (+2 in the run)")
        await driver.press("a")
        await driver.until(lambda: driver.on_disk().get(4) is not None)
        assert 2 not in driver.on_disk()


async def test_nothing_is_decided_while_a_neighbour_is_being_read(placed: FakeSession) -> None:
    async with opened(placed) as driver:
        await driver.ready()
        driver.main.picture.visit = Visit(reading=True)
        await driver.press("a")
        await driver.shows("the neighbour is being read")
        assert not driver.on_disk()


async def test_a_miss_is_visited_and_can_be_decided_on(placed: FakeSession) -> None:
    assert placed.writer is not None
    placed.writer.put_frames(placed.files["run_0142.h5"], [FrameResult(40, 0, False)], time.time())
    async with opened(placed, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("G")
        await driver.until(lambda: driver.picture.shown_id == 40)
        await driver.press("greater_than_sign")
        await driver.shows("frame 41  (+1 in the run)", "▶#0040 miss ?")
        await driver.press("x")
        await driver.until(lambda: 40 in driver.on_disk())


async def test_moving_goes_back_from_a_neighbour_to_the_list(placed: FakeSession) -> None:
    async with opened(placed) as driver:
        await driver.ready()
        await driver.press("less_than_sign")
        await driver.shows("the run ends here")
        await driver.press("greater_than_sign")
        await driver.until(lambda: driver.picture.shown_id == 2)
        await driver.press("less_than_sign")
        await driver.until(lambda: driver.picture.shown_id == 1)
        await driver.press("greater_than_sign")
        await driver.until(lambda: driver.picture.shown_id == 2)
        await driver.press("a")
        await driver.until(lambda: list(driver.on_disk()) == [1])
        assert driver.list.selected == 3


async def test_the_letters_of_neighbours_follow_decisions(placed: FakeSession) -> None:
    async with opened(placed, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("j", "a", "k", "k")
        await driver.until(lambda: driver.picture.shown_id == 1)
        await driver.shows("▶#0000 .990 ? │ #0001 .980 A")
        assert driver.main.query_one(NeighbourPane).display


async def test_the_next_frames_are_read_before_the_key(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        await driver.until(lambda: driver.picture.shown_id == 2)
        for _ in range(5):
            await driver.until(lambda: not driver.picture._loading and not driver.picture._ahead, "what is read ahead")
            await driver.press("a")
        await driver.until(lambda: driver.picture.shown_id == driver.list.selected)
        gallery = driver.main.triage.gallery
        assert gallery.found >= 5 and gallery.missed <= 2


def rows_of(hits: FakeSession, count: int) -> list[FrameRow]:
    store = RowStore(hits.session)
    rows = list(store.fetch(range(1, count + 1)).values())
    store.close()
    return rows


@pytest.mark.parametrize("bound", ["bytes", "number"])
def test_what_is_kept_stays_below_its_bounds(hits: FakeSession, monkeypatch: pytest.MonkeyPatch, bound: str) -> None:
    store, canvas = RowStore(hits.session), PictureTarget(40, 20, Look(), False)
    gallery = Gallery(Previewer(hits.session.recipe(), FakeSource()), store, counts=True)
    rows = rows_of(hits, 10)
    one = gallery.load(rows[0], canvas).bytes
    if bound == "bytes":
        monkeypatch.setattr(pictures, "BYTES_KEPT", 4 * one)
    else:
        monkeypatch.setattr(pictures, "PICTURES_KEPT", 4)
    for row in rows:
        gallery.load(row, canvas)
    kept = [row.id for row in rows if gallery.peek(row, whole=False)]
    assert kept == [row.id for row in rows[-4:]]
    store.close()


def test_a_frame_that_another_model_scored_is_read_anew(hits: FakeSession) -> None:
    store = RowStore(hits.session)
    gallery = Gallery(Previewer(hits.session.recipe(), FakeSource()), store, counts=True)
    row = rows_of(hits, 1)[0]
    gallery.load(row, PictureTarget(40, 20, Look(), False))
    assert gallery.peek(row, whole=False) and not gallery.peek(replace(row, score=0.1), whole=False)
    store.close()


def test_a_frame_that_could_not_be_read_is_tried_again(hits: FakeSession) -> None:
    source, store = FakeSource(), RowStore(hits.session)
    gallery = Gallery(Previewer(hits.session.recipe(), source), store, counts=True)
    row = rows_of(hits, 1)[0]
    source.gone.add(row.key.file)
    assert "no such file" in gallery.load(row, PictureTarget(40, 20, Look(), False)).message
    source.gone.clear()
    assert gallery.load(row, PictureTarget(40, 20, Look(), False)).preview is not None
    store.close()


@pytest.mark.parametrize("name", ["viridis", "magma", "cividis", "grey"])
def test_perceptual_maps_grow_lighter_all_the_way(name: str) -> None:
    light = [np.dot(colour_at(name, value), (0.2126, 0.7152, 0.0722)) for value in np.linspace(0, 1, 24)]
    assert np.all(np.diff(light) > 0)


def test_there_are_perceptual_maps_and_jet() -> None:
    assert MAPS == ("grey", "viridis", "magma", "cividis", "jet")
    assert colour_at("jet", 0.5) == pytest.approx((128, 255, 128)) and colour_at("jet", 0.0) == (0, 0, 128)
