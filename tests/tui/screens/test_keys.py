"""What each key of the main screen does."""

from __future__ import annotations

import base64

import pytest

from photon_triage.tui.screens.main.screen import KEYS

from ..driver import SIZES, opened
from ..fake_session import FakeSession


@pytest.mark.parametrize(
    ("key", "verdict", "letter"), [("a", "accepted", "A"), ("x", "rejected", "X"), ("space", "skipped", "S")]
)
async def test_a_verdict_is_written_and_the_cursor_goes_on(
    hits: FakeSession, key: str, verdict: str, letter: str
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(key)
        await driver.shows(f"0.990  70.5 {letter}", verdict)
        assert driver.on_disk()[0].verdict == verdict
        assert driver.list.selected == 2


async def test_verdicts_typed_faster_than_they_are_painted_each_meet_their_frame(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a", "x", "a", "space")
        await driver.until(lambda: len(driver.on_disk()) == 4)
        verdicts = [label.verdict for _, label in sorted(driver.on_disk().items())]
        assert verdicts == ["accepted", "rejected", "accepted", "skipped"]


async def test_the_cursor_passes_over_what_others_decided(hits: FakeSession) -> None:
    hits.label({1: "accepted", 2: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.shows("1A 1X")
        await driver.press("a")
        assert driver.list.selected == 4


@pytest.mark.parametrize("key", ["u", "backspace"])
async def test_undo_takes_back_and_returns(hits: FakeSession, key: str) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a", "x")
        await driver.until(lambda: len(driver.on_disk()) == 2)
        await driver.press(key)
        await driver.shows("2 is undecided again", "▶       2 0.980  70.5 ?")
        assert list(driver.on_disk()) == [0]


async def test_undo_brings_back_an_earlier_verdict(hits: FakeSession) -> None:
    hits.label({0: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.shows("0A 1X")
        await driver.press("a")
        await driver.shows("1A 0X")
        await driver.press("u")
        await driver.shows("1 is rejected again", "0A 1X")


async def test_undo_with_nothing_decided_says_so(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("u")
        await driver.shows("nothing to undo")


@pytest.mark.parametrize(
    ("key", "verdict", "category"),
    [("1", "accepted", "single"), ("2", "rejected", "multiple"), ("3", "rejected", "water")],
)
async def test_a_class_decides(hits: FakeSession, key: str, verdict: str, category: str) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(key)
        await driver.until(lambda: 0 in driver.on_disk())
        label = driver.on_disk()[0]
        assert (label.verdict, label.category) == (verdict, category)


async def test_a_class_is_cleared_and_the_verdict_kept(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("2")
        await driver.shows("1 rejected as multiple")
        await driver.press("k", "0")
        await driver.until(lambda: driver.on_disk()[0].category == "")
        assert driver.on_disk()[0].verdict == "rejected"


async def test_a_flag_is_set_and_taken_off(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("f")
        await driver.shows("0.990  70.5 ? f")
        assert hits.session.labels().flagged == {hits.key(0)}
        await driver.press("f")
        await driver.shows("no longer flagged")
        assert not hits.session.labels().flagged


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        (["j"], 1),
        (["down", "down"], 2),
        (["j", "j", "k"], 1),
        (["down", "up"], 0),
        (["G"], 39),
        (["G", "g"], 0),
        (["ctrl+d"], 8),
        (["ctrl+d", "ctrl+d", "ctrl+u"], 8),
    ],
)
async def test_the_cursor_moves(hits: FakeSession, keys: list[str], place: int) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(*keys)
        assert driver.list.cursor == place


async def test_next_and_previous_undecided(hits: FakeSession) -> None:
    hits.label({1: "accepted", 2: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.shows("1A 1X")
        await driver.press("n")
        assert driver.list.cursor == 3
        await driver.press("N")
        assert driver.list.cursor == 0


async def test_a_queue_is_chosen_by_its_number_or_by_enter(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("s")
        await driver.shows("What to look at first", "8  disputed")
        await driver.press("2")
        await driver.shows("by newest")
        await driver.until(lambda: driver.list.selected == 40)
        await driver.press("s", "j", "enter")
        await driver.shows("by uncertain")
        await driver.press("s", "1")
        await driver.shows("by score")
        await driver.until(lambda: driver.list.selected == 1)


async def test_the_frame_is_copied_as_path_and_index(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(hits, SIZES["wide"]) as driver:
        written: list[str] = []
        await driver.ready()
        assert driver.app._driver is not None
        monkeypatch.setattr(driver.app._driver, "write", written.append)
        await driver.press("j", "y")
        place = f"{hits.key(1).file} //1"
        await driver.until(lambda: any(base64.b64encode(place.encode()).decode() in text for text in written))
        await driver.shows("copied:", "//1")


async def test_zoom_gives_the_picture_the_width_and_takes_it_back(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("enter")
        await driver.until(lambda: driver.picture.size.width == 78)
        await driver.press("a")
        await driver.until(lambda: 0 in driver.on_disk())
        await driver.press("enter")
        await driver.until(lambda: driver.picture.size.width < 50)


@pytest.mark.parametrize(
    ("key", "shown"),
    [("plus", "p98"), ("minus", "p99.5"), ("l", "linear"), ("m", "viridis"), ("w", "96×64 whole frame")],
)
async def test_the_picture_is_looked_at_in_other_ways(hits: FakeSession, key: str, shown: str) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(key)
        await driver.shows(shown)


async def test_pause_holds_the_list_and_lets_the_header_go_on(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("p")
        await driver.shows("PAUSED")
        hits.add_frames(5, scores=[1.0] * 5)
        hits.run_engine(rate_hz=99.0)
        await driver.shows("99 Hz")
        assert len(driver.list.ids) == 40
        await driver.press("p")
        await driver.until(lambda: len(driver.list.ids) == 45)


async def test_tab_goes_through_the_panes_and_help_tells_of_the_one_in_focus(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("tab")
        assert driver.focus == "preview"
        await driver.press("question_mark")
        await driver.shows("The frame in counts", "Accept the frame, then the next undecided")
        await driver.press("question_mark")
        await driver.until(lambda: driver.app.screen is driver.main)
        await driver.press("tab")
        assert driver.focus == "candidates"


@pytest.mark.parametrize("keys", [["q"], ["ctrl+q"], ["T", "ctrl+q"]])
async def test_quit_leaves_and_the_engine_stays(hits: FakeSession, keys: list[str]) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a", *keys)
        await driver.until(lambda: driver.app.return_value is not None)
        assert driver.app.return_value == 0
    assert driver.on_disk()[0].verdict == "accepted"
    assert driver.source.closed


def test_every_key_has_an_id_of_its_own_and_says_what_it_does() -> None:
    ids = [binding.id for binding in KEYS]
    assert all(ids) and len(set(ids)) == len(ids)
    assert all(binding.tooltip for binding in KEYS)


async def test_a_keymap_moves_a_key(hits: FakeSession) -> None:
    async with opened(hits, keymap='[keys]\naccept = "z"\n') as driver:
        await driver.ready()
        await driver.shows("z Accept")
        await driver.press("a")
        assert not driver.on_disk()
        await driver.press("z")
        await driver.until(lambda: 0 in driver.on_disk())


@pytest.mark.parametrize(
    ("keymap", "told"),
    [
        ("[keys]\nacept = 'z'\n", "no binding 'acept'"),
        ("keys = [", "Could not read the keymap"),
        ("keys = 3", "[keys]"),
    ],
)
async def test_a_keymap_that_cannot_be_used_is_told(hits: FakeSession, keymap: str, told: str) -> None:
    async with opened(hits, SIZES["wide"], keymap=keymap) as driver:
        await driver.shows(told)
