"""Redo, repeat, and decisions on a marked range: one record, one undo."""

from __future__ import annotations

import pytest

from ..driver import opened
from ..fake_session import FakeSession


def records(hits: FakeSession) -> int:
    """Lines in the journals."""
    return sum(len(path.read_bytes().splitlines()) for path in hits.session.journal_path.glob("*.jsonl"))


@pytest.mark.parametrize("key", ["U", "ctrl+r"])
async def test_redo_makes_the_decision_again(hits: FakeSession, key: str) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a", "2", "u")
        await driver.shows("2 is undecided again")
        await driver.press(key)
        await driver.shows("↷ 2 is rejected again")
        assert driver.on_disk()[1].category == "multiple"
        await driver.press("u", "u")
        await driver.until(lambda: not driver.on_disk())


async def test_redo_with_nothing_undone_says_so(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a", "U")
        await driver.shows("nothing to redo")


async def test_a_marked_range_is_decided_in_one_record_and_one_undo(hits: FakeSession) -> None:
    hits.label({2: "accepted"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.shows("1A 0X")
        before = records(hits)
        await driver.press("j", "v", "j", "j", "j")
        await driver.shows(" ┃      2 ", "▶┃      5 ")
        await driver.press("x")
        await driver.shows("✗ 4 frames rejected (1 undoable)", "0A 4X")
        assert records(hits) == before + 1
        assert {index: label.verdict for index, label in driver.on_disk().items()} == dict.fromkeys(
            range(1, 5), "rejected"
        )
        assert driver.list.selected == 6 and not driver.list.marked
        await driver.press("u")
        await driver.shows("↶ 4 frames are as before again", "1A 0X")
        assert {index: label.verdict for index, label in driver.on_disk().items()} == {2: "accepted"}
        await driver.press("U")
        await driver.shows("↷ 4 frames are rejected again", "0A 4X")


async def test_a_range_reaches_beyond_what_is_in_view(hits: FakeSession) -> None:
    hits.add_frames(460)
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("v", "G", "3")
        await driver.shows("✗ 500 frames rejected as water")
        assert len(driver.on_disk()) == 500


async def test_a_range_that_is_too_long_is_refused(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("photon_triage.tui.screens.main.decision_controller.MARKED_MOST", 10)
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("v", "G", "a")
        await driver.shows("at most 10 can be decided")
        assert not driver.on_disk()


async def test_a_mark_is_given_up_with_its_own_key(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("v", "j", "v", "a")
        await driver.until(lambda: len(driver.on_disk()) == 1)
        assert list(driver.on_disk()) == [1]


async def test_a_range_is_flagged_and_the_flags_are_taken_back(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("v", "j", "j", "f")
        await driver.shows("3 frames flagged")
        assert len(hits.session.labels().flagged) == 3
        await driver.press("u")
        await driver.shows("3 frames are not flagged again")
        assert not hits.session.labels().flagged


async def test_repeat_gives_the_last_verdict_and_class(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("full_stop")
        await driver.shows("nothing has been decided")
        await driver.press("6", "full_stop", "v", "j", "full_stop")
        await driver.until(lambda: len(driver.on_disk()) == 4)
        assert {(label.verdict, label.category) for label in driver.on_disk().values()} == {("rejected", "ice")}


async def test_a_range_that_could_not_be_saved_is_undecided(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        with monkeypatch.context() as patch:
            patch.setattr("os.write", lambda fd, data: 0)
            await driver.press("v", "j", "j", "a")
            await driver.shows("3 frames are not decided", "Not saved")
        assert driver.list.cursor == 0
        await driver.press("a")
        await driver.until(lambda: list(driver.on_disk()) == [0])
