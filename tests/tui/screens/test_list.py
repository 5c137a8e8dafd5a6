"""The list's order: live until it is touched, then frozen, with a counter for what is new."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ..driver import SIZES, opened
from ..fake_session import FakeSession


async def test_an_untouched_list_follows_what_comes(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        hits.add_frames(1, scores=[0.999])
        await driver.until(lambda: driver.list.selected == 41)
        await driver.shows("live")


async def test_a_touched_list_keeps_its_order_and_counts_what_is_new(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        before = driver.list.ids.copy()
        hits.add_frames(3, scores=[0.999] * 3)
        await driver.shows("+3 new", "frozen")
        assert np.array_equal(driver.list.ids, before)
        assert driver.list.selected == 2


async def test_tail_goes_to_the_newest_and_follows(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        hits.add_frames(1)
        await driver.shows("+1 new")
        await driver.press("t")
        await driver.until(lambda: driver.list.selected == 41)
        hits.add_frames(1)
        await driver.until(lambda: driver.list.selected == 42)


async def test_a_decision_just_after_the_list_moved_is_not_taken_for_another_frame(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photon_triage.tui.screens.main.decision_controller.SURPRISE_S", 60.0)
    async with opened(hits) as driver:
        await driver.ready()
        hits.add_frames(1, scores=[0.999])
        await driver.until(lambda: driver.list.row is not None and driver.list.selected == 41)
        await driver.press("a")
        await driver.shows("the list moved just now")
        assert not driver.on_disk()
        await driver.press("a")
        await driver.until(lambda: 40 in driver.on_disk())


async def test_a_live_list_sends_no_more_pictures_than_a_slow_line_takes_and_a_key_shows_one_at_once(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photon_triage.tui.widgets.preview.PICTURE_REST_S", 0.0)
    async with opened(hits) as driver:
        await driver.ready()
        await driver.until(lambda: driver.picture.shown_id == driver.list.selected)
        monkeypatch.setattr("photon_triage.tui.widgets.preview.BYTES_A_SECOND", 1)
        before = driver.picture.shown_id
        hits.add_frames(1, scores=[0.999])
        await driver.until(lambda: driver.list.row is not None and driver.list.selected == 41)
        hits.run_engine(rate_hz=5.0)
        await driver.shows("5 Hz")
        assert driver.picture.shown_id == before, "another look at the session has not changed it"
        await driver.press("j", "k")
        await driver.until(lambda: driver.picture.shown_id == 41)


async def test_the_picture_follows_the_cursor_and_is_not_read_twice(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        await driver.until(lambda: driver.picture.shown_id == 2)
        hits.run_engine(rate_hz=5.0)
        await driver.shows("5 Hz")
        read = [key.index for key in driver.source.reads]
        assert read[0] == 0 and len(set(read)) == len(read)


async def test_a_score_that_another_model_gave_is_shown(hits: FakeSession) -> None:
    from photon_triage.core.session.store.rows import FrameResult

    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        assert hits.writer is not None
        hits.writer.rescore(hits.files["run_0142.h5"], [FrameResult(1, 3, True, 0.123, "second")])
        await driver.shows("2 0.123")


async def test_the_filter_keeps_frames_of_a_file(hits: FakeSession) -> None:
    hits.add_file("other_0007.h5", run="r0143")
    hits.add_frames(2, "other_0007.h5")
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.ready()
        await driver.press("slash")
        await driver.shows("text in file or run")
        await driver.press(*"OTHER", "enter")
        await driver.until(lambda: len(driver.list.ids) == 2)
        await driver.shows("'OTHER'")


@pytest.mark.parametrize(("presses", "left"), [(1, 41), (2, 38), (3, 1)])
async def test_the_filter_chooses_a_kind(hits: FakeSession, presses: int, left: int) -> None:
    from photon_triage.core.session.store.rows import FrameResult

    assert hits.writer is not None
    hits.writer.put_frames(hits.files["run_0142.h5"], [FrameResult(99, 0, False)], time.time())
    hits.label({0: "accepted", 1: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("f")
        await driver.shows("1 flagged")
        await driver.press("slash", *["down"] * presses, "enter")
        await driver.until(lambda: len(driver.list.ids) == left)


async def test_a_filter_that_matches_nothing_says_so(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("slash", *"zzz", "enter")
        await driver.shows("no frame matches the filter", "/ changes it")
        await driver.press("a", "j", "n", "f", "y", "enter")
        assert not driver.on_disk()


async def test_a_million_ids_draw_only_what_is_visible(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("j")
        fetched: list[int] = []
        real = driver.list._store.fetch

        def counted(ids: list[int]) -> object:
            fetched.extend(ids)
            return real(ids)

        driver.list._store.fetch = counted  # type: ignore[method-assign, assignment]
        driver.list.show_ids(np.arange(1_000_000, dtype=np.int64)[::-1].copy())
        await driver.press("G")
        await driver.until(lambda: driver.list.cursor == 999_999)
        await driver.shows("▶       0")
        assert len(fetched) < 500
