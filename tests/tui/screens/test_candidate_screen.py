"""The screen of a recipe that segments frames and searches them for candidates."""

from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.store.preview import Preview
from photon_triage.core.session.store.rows import ClassMap
from photon_triage.tui.widgets.halfblock import Look, cells_of, letters_of, shades
from photon_triage.tui.widgets.rings import BOX, LEVELS, MARK, Drawn

from ..driver import SIZES, opened
from ..fake_session import FakeSession


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_candidates_are_listed_and_shown_on_their_frame(found: FakeSession, size: tuple[int, int]) -> None:
    async with opened(found, size) as driver:
        await driver.ready()
        await driver.shows("Candidates 8", "candidate 1  score 0.950", "membrane tint")
        assert len(driver.list.ids) == 8


async def test_candidates_are_accepted_rejected_and_taken_back_with_the_same_keys(found: FakeSession) -> None:
    async with opened(found) as driver:
        await driver.ready()
        await driver.press("a", "x")
        await driver.until(lambda: len(found.session.labels().labels) == 2)
        labels = found.session.labels().labels
        assert {key.point: label.verdict for key, label in labels.items() if key.index == 0} == {(20, 30): "accepted"}
        assert {key.point: label.verdict for key, label in labels.items() if key.index == 1} == {(20, 30): "rejected"}
        await driver.shows("1A 1X")
        await driver.press("u")
        await driver.until(lambda: len(found.session.labels().labels) == 1)


async def test_a_label_keeps_to_its_candidate_when_another_model_moves_it(found: FakeSession) -> None:
    journal = found.session.journal("ada")
    LabelWriter(journal).decide(found.key(0).at(22, 31), "accepted")
    journal.close()
    async with opened(found) as driver:
        await driver.ready()
        await driver.shows("1A 0X")
        label = driver.main.triage.standing.label(1)
        assert label is not None and label.verdict == "accepted"


async def test_points_without_a_candidate_count_as_missed(found: FakeSession) -> None:
    journal = found.session.journal("ada")
    writer = LabelWriter(journal)
    writer.decide(found.key(0).at(20, 30), "accepted")
    writer.decide(found.key(0).at(90, 60), "accepted")
    journal.close()
    async with opened(found, SIZES["wide"]) as driver:
        await driver.until(lambda: driver.main.snapshot.measured and driver.main.snapshot.measured.labelled.n == 2)
        measured = driver.main.snapshot.measured
        assert measured is not None and (measured.labelled.tp, measured.labelled.fn) == (1, 1)
        assert measured.audit is None, "labels of candidates never tell what was missed"


async def test_the_overlay_is_tint_outline_or_nothing(found: FakeSession) -> None:
    async with opened(found) as driver:
        await driver.ready()
        await driver.shows("membrane tint")
        await driver.press("o")
        await driver.shows("membrane outline")
        await driver.press("o")
        await driver.shows("membrane off")


async def test_the_place_of_a_candidate_is_copied_with_its_point(found: FakeSession) -> None:
    async with opened(found, SIZES["medium"]) as driver:
        await driver.ready()
        await driver.press("y")
        await driver.shows("//0 20,30")


def preview() -> Preview:
    key = make_key()
    return Preview(key, np.ones((40, 40), np.float32), np.ones((40, 40), bool), 0, 0, 40, 40)


def make_key() -> FrameKey:
    return FrameKey("/data/a.tif", "", 0)


def half_mask(**place: int) -> ClassMap:
    values = np.zeros((40, 40), np.uint8)
    values[:, 20:] = 1
    return ClassMap(values, ("background", "membrane"), **place)


def test_a_class_tints_its_pixels_and_leaves_the_background() -> None:
    picture = shades(preview(), Drawn(classes=half_mask()), Look(), 40, 40)
    assert (picture[:, :20] < LEVELS).all() and (picture[:, 20:] // LEVELS == 1).all()
    assert len({segment.style for line in cells_of(picture, "grey") for segment in line}) == 2


def test_an_outline_tints_only_the_edge() -> None:
    picture = shades(preview(), Drawn(classes=half_mask()), Look(overlay="outline"), 40, 40)
    assert set(np.nonzero(picture >= LEVELS)[1]) == {20}


def test_a_mask_of_a_region_lies_where_the_region_begins() -> None:
    picture = shades(preview(), Drawn(classes=half_mask(left=10)), Look(), 40, 40)
    assert set(np.nonzero(picture >= LEVELS)[1]) == set(range(30, 40))


def test_the_chosen_candidate_is_marked_apart_from_the_others() -> None:
    drawn = Drawn(points=[(10, 10), (30, 30)], chosen=(30, 30))
    picture = shades(preview(), drawn, Look(), 40, 40)
    assert MARK in picture[:12, :25] and BOX in picture[18:, 18:]
    text = "".join(segment.text for line in letters_of(picture) for segment in line)
    assert "o" in text and "+" in text


def test_without_colour_a_class_is_a_digit() -> None:
    picture = shades(preview(), Drawn(classes=half_mask()), Look(), 40, 40)
    assert letters_of(picture)[0][0].text[20:] == "1" * 20


async def test_candidates_are_drawn_for_the_audit_and_counted(found: FakeSession) -> None:
    async with opened(found) as driver:
        await driver.ready()
        await driver.press("s", "5", "d")
        await driver.until(lambda: len(driver.list.ids) == 8 and found.session.labels().draws, "the draw")
        await driver.ready()
        for count in range(1, 9):
            await driver.until(lambda: driver.list.row is not None, "a row")
            await driver.until(lambda: driver.picture.shown_id == driver.list.selected, "its picture")
            await driver.press("a" if (driver.list.row.score or 0) > 0.5 else "x")  # type: ignore[union-attr]
            await driver.until(lambda count=count: len(found.session.labels().labels) == count)  # type: ignore[misc]
        await driver.shows("audit n=8")
        assert {label.queue for label in found.session.labels().labels.values()} == {"audit"}
