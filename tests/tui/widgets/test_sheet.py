"""The contact sheet: many frames at once, decided on with the keys of the list."""

from __future__ import annotations

import pytest

from photon_triage.tui.screens.main.screen import MainScreen
from photon_triage.tui.widgets.sheet import LEAST_CELLS, ContactSheet, grid_of

from ..driver import SIZES, Driver, opened
from ..fake_session import FakeSession

LEAST_SHOWN = {"narrow": 8, "medium": 20, "wide": 60}


def sheet(driver: Driver) -> ContactSheet:
    """The contact sheet."""
    return driver.main.query_one(ContactSheet)


async def turn_to_sheet(driver: Driver) -> None:
    """Open the sheet, with every thumbnail of its page read."""
    await driver.ready()
    await driver.press("c")
    await driver.until(lambda: sheet(driver).display and sheet(driver).size.width > 40, "the sheet")
    await driver.until(lambda: "…" not in "".join(driver.text().splitlines()[2:-4]), "the thumbnails")


@pytest.mark.parametrize("size", SIZES)
async def test_the_sheet_shows_many_frames_with_their_state(hits: FakeSession, size: str) -> None:
    hits.add_frames(60)
    hits.label({1: "rejected"})
    async with opened(hits, SIZES[size]) as driver:
        await turn_to_sheet(driver)
        await driver.shows("Contact sheet 100", "▶ 1 .99", "2 .98")
        assert sheet(driver).grid.page >= LEAST_SHOWN[size]
        captions = [line for line in driver.text().splitlines() if "2 .98" in line]
        assert captions and " X " in captions[0]


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [(78, 18), (118, 34), (198, 54), (20, 5), (3, 2)])
def test_thumbnails_fit_the_pane_and_are_large_enough_to_tell(size: tuple[int, int], ratio: float) -> None:
    grid = grid_of(*size, ratio)
    assert grid.across * (grid.width + 1) <= size[0] + 1
    assert grid.down * (grid.height + 1) <= size[1]
    assert grid.page == 1 or (grid.width + 1) * (grid.height + 1) >= LEAST_CELLS


async def test_the_arrows_move_over_the_sheet(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await turn_to_sheet(driver)
        across, page = sheet(driver).grid.across, sheet(driver).grid.page
        await driver.press("right", "down")
        assert driver.list.cursor == 1 + across
        await driver.press("left", "k")
        assert driver.list.cursor == 0
        await driver.press("ctrl+d")
        assert driver.list.cursor == page and sheet(driver).first == page
        await driver.shows("page 2 of")


async def test_decisions_on_the_sheet_are_those_of_the_list(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await turn_to_sheet(driver)
        await driver.press("a", "x", "2", "f")
        await driver.until(lambda: len(driver.on_disk()) == 3)
        await driver.shows("4 flagged")
        assert {index: label.verdict for index, label in driver.on_disk().items()} == {
            0: "accepted",
            1: "rejected",
            2: "rejected",
        }
        await driver.press("u", "u")
        await driver.until(lambda: len(driver.on_disk()) == 2)
        assert driver.list.cursor == 2


async def test_enter_shows_the_frame_large_and_comes_back_to_the_sheet(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await turn_to_sheet(driver)
        await driver.press("right", "enter")
        await driver.until(lambda: driver.picture.display and driver.picture.shown_id == 2, "the frame")
        assert not sheet(driver).size.width
        await driver.press("enter")
        await driver.until(lambda: sheet(driver).size.width > 40, "the sheet")
        await driver.press("c")
        await driver.until(lambda: driver.list.size.width > 20, "the list")
        assert driver.focus == "candidates"


async def test_a_neighbour_is_never_decided_on_behind_the_sheet(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await turn_to_sheet(driver)
        await driver.press("greater_than_sign")
        await driver.until(lambda: driver.picture.display and driver.picture.shown_id == 2, "the neighbour, large")
        await driver.press("enter")
        await driver.until(lambda: sheet(driver).size.width > 40, "the sheet")
        await driver.press("a")
        await driver.until(lambda: list(driver.on_disk()) == [0])


async def test_a_file_that_is_gone_leaves_a_word_in_its_place(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        driver.source.gone.add(hits.key(0).file)
        await driver.until(lambda: driver.list.row is not None)
        await driver.press("c")
        await driver.shows("cannot be read")


async def test_another_look_needs_no_other_read(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await turn_to_sheet(driver)
        main = driver.main
        assert isinstance(main, MainScreen)
        await driver.until(lambda: not sheet(driver)._loading)
        reads = len(driver.source.reads)
        await driver.press("m", "plus", "l")
        await driver.shows("linear · viridis")
        assert len(driver.source.reads) == reads


async def test_without_colour_thumbnails_are_letters(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        sheet(driver).letters = True
        await turn_to_sheet(driver)
        assert "▀" not in driver.text() and "=" in driver.text()
