"""A picture goes past Textual's caches to the terminal: the same must come of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from rich.color import ColorSystem
from rich.console import Console
from textual.color import Color
from textual.filter import LineFilter
from textual.geometry import Region
from textual.strip import Strip

from photon_triage.tui.terminal.repaint import sequences_of
from photon_triage.tui.widgets.halfblock import cells_of

from ..driver import SIZES, Driver, opened
from ..fake_session import FakeSession

Cell = tuple[str, str, str]
MAP = {ColorSystem.TRUECOLOR: "magma", ColorSystem.EIGHT_BIT: "viridis"}
"""A map for each: the sequences of a style are kept, as no terminal changes its colours."""


class Nothing(LineFilter):
    """Changes nothing, but keeps a pane from taking the short way."""

    def apply(self, segments: list[object], background: Color) -> list[object]:  # type: ignore[override]
        return segments


def cells_sent(sequences: str) -> list[Cell]:
    """What stands on a terminal that was sent these: letter, colour, background; nothing else may be set."""
    cells, colour, background = [], "", ""
    for codes, letter in re.findall(r"\x1b\[([\d;]*)m|(.)", sequences):
        if letter:
            cells.append((letter, colour, background))
        elif codes == "0":
            colour = background = ""
        else:
            told = re.fullmatch(r"(?:(3[0-7]|9[0-7]|38;2;\d+;\d+;\d+|38;5;\d+);?)?(4[0-7]|10[0-7]|48;[\d;]+)?", codes)
            assert told, codes
            colour, background = told[1] or colour, told[2] or background
    assert not colour and not background, "the next line must not begin in these colours"
    return cells


@pytest.mark.parametrize("system", MAP)
def test_the_short_sequences_of_a_line_paint_what_the_long_ones_do(system: ColorSystem) -> None:
    truecolor = system is ColorSystem.TRUECOLOR
    console = Console(color_system="truecolor" if truecolor else "256", force_terminal=True)
    picture = np.random.default_rng(3).integers(0, 24, (40, 60)).astype(np.uint8)
    picture[:, 20:40] = 7  # runs of equal cells
    for line in cells_of(picture, MAP[system]):
        strip = Strip(line)
        short, long = sequences_of(strip, system), strip.render(console)
        assert cells_sent(short) == cells_sent(long)
        assert len(short) < len(long)


def pane_of(driver: Driver) -> tuple[list[Strip], list[list[Cell]]]:
    """The pane's strips, and the cells of what is sent for them."""
    pane = driver.picture
    strips = pane.render_lines(Region(0, 0, *pane.outer_size))
    return strips, [cells_sent(strip.render(driver.app.console)) for strip in strips]


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
async def test_a_picture_is_framed_as_textual_would(
    hits: FakeSession, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(hits, size) as driver:
        await driver.ready()
        await driver.press("j")
        await driver.until(lambda: driver.picture.shown_id == 2)
        pane = driver.picture
        direct, sent = pane_of(driver)
        ways = [pane._direct]
        filters: Sequence[LineFilter] = [*driver.app.get_line_filters(), Nothing()]
        monkeypatch.setattr(pane, "get_line_filters", lambda: filters)
        pane.refresh()
        usual, sent_usually = pane_of(driver)
        assert [*ways, pane._direct] == [True, False]
        assert [strip.text for strip in direct] == [strip.text for strip in usual]
        assert [strip.cell_length for strip in direct] == [strip.cell_length for strip in usual]
        assert sent == sent_usually


async def test_a_part_of_a_picture_is_that_part_of_the_whole(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        pane = driver.picture
        whole, _ = pane_of(driver)
        part = pane.render_lines(Region(2, 3, 20, 5))
        assert [strip.text for strip in part] == [strip.crop(2, 22).text for strip in whole[3:8]]
