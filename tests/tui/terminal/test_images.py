"""The bitmap encoders, read back by decoders written from the formats' rules, and what a pane sends."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from textual.geometry import Region

from photon_triage.core.session.store.preview import Preview
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.terminal import images
from photon_triage.tui.terminal.images import PictureOutput, choose_output
from photon_triage.tui.terminal.images.encoders import (
    BYTES_A_PICTURE,
    CHUNK,
    NUMBERS,
    PLACEHOLDER,
    Bitmap,
    encode_kitty,
    encode_sixel,
    placeholders,
    png,
    within_budget,
)
from photon_triage.tui.terminal.images.query import Graphics
from photon_triage.tui.terminal.repaint import Painted
from photon_triage.tui.terminal.terminal import Images, Terminal
from photon_triage.tui.widgets.halfblock import Look
from photon_triage.tui.widgets.picture_painter import kitty_of, sixel_of
from photon_triage.tui.widgets.pictures import Picture
from photon_triage.tui.widgets.preview import PreviewPane
from photon_triage.tui.widgets.rows import Finds

from ..driver import opened
from ..fake_session import FakeSession

PALETTE = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [51, 102, 204]], np.uint8)
GOOD = Terminal("xterm-256color", "true", "", "utf-8", 120, 40, False)


def sixel_pixels(data: str) -> NDArray[np.int64]:
    """A sixel string as (rows, columns, 3) percent, -1 where nothing was drawn; every rule of the manual but macros."""
    match = re.fullmatch(r'\x1bP([\d;]*)q"(\d+);(\d+);(\d+);(\d+)(.*)\x1b\\', data, re.DOTALL)
    assert match is not None and match[1].split(";")[1] == "1"
    width, height = int(match[4]), int(match[5])
    picture = np.full((-(-height // 6) * 6, width, 3), -1)
    colours: dict[int, tuple[int, ...]] = {}
    x = top = 0
    current = -1
    token = re.compile(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|!(\d+)([?-~])|([?-~])|(\$)|(-)")
    place = 0
    while place < len(match[6]):
        found = token.match(match[6], place)
        assert found is not None, match[6][place : place + 20]
        place = found.end()
        if found[1]:
            current = int(found[1])
            if found[2]:
                colours[current] = tuple(int(found[part]) for part in (2, 3, 4))
        elif found[8]:
            x = 0
        elif found[9]:
            x, top = 0, top + 6
        else:
            bits, run = ord(found[6] or found[7]) - 63, int(found[5] or 1)
            for row in range(6):
                if bits >> row & 1:
                    picture[top + row, x : x + run] = colours[current]
            x += run
    assert x <= width and (picture[height:] == -1).all(), "nothing outside of the picture"
    return picture[:height]


def kitty_sequences(data: str) -> Iterator[tuple[dict[str, str], str]]:
    """Keys and payload of each command, and nothing between them."""
    rest = re.sub(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\", "", data)
    assert rest == ""
    for match in re.finditer(r"\x1b_G([^;\x1b]*)(?:;([^\x1b]*))?\x1b\\", data):
        yield dict(pair.split("=") for pair in match[1].split(",")), match[2] or ""


bitmaps = st.builds(
    lambda height, width, seed: Bitmap(
        np.random.default_rng(seed).integers(0, len(PALETTE), (height, width)).astype(np.uint8), PALETTE
    ),
    st.integers(1, 25),
    st.integers(1, 40),
    st.integers(0, 99),
)


@given(bitmaps, st.integers(1, 4))
def test_sixels_read_back_are_the_picture(bitmap: Bitmap, scale: int) -> None:
    wanted = np.round(PALETTE[bitmap.pixels].astype(float) * 100 / 255).astype(int)
    assert (sixel_pixels(encode_sixel(bitmap, scale)) == wanted.repeat(scale, 0).repeat(scale, 1)).all()


def test_equal_sixels_are_sent_as_runs() -> None:
    assert len(encode_sixel(Bitmap(np.ones((6, 1000), np.uint8), PALETTE))) < 60


@given(bitmaps)
def test_a_png_read_back_is_the_picture(bitmap: Bitmap) -> None:
    read = np.asarray(Image.open(io.BytesIO(png(bitmap))).convert("RGB"))
    assert (read == PALETTE[bitmap.pixels]).all()


def test_kitty_gets_the_picture_in_chunks_and_answers_nothing() -> None:
    pixels = np.random.default_rng(1).integers(0, 4, (200, 300)).astype(np.uint8)
    sequences = list(kitty_sequences(encode_kitty(Bitmap(pixels, PALETTE), 77, 40, 20)))
    assert len(sequences) > 2
    first, *following = [keys for keys, _ in sequences]
    assert {"a": "T", "U": "1", "f": "100", "i": "77", "c": "40", "r": "20"}.items() <= first.items()
    assert all(keys["q"] == "2" for keys, _ in sequences)
    assert [keys["m"] for keys, _ in sequences] == ["1"] * len(following) + ["0"]
    assert all(len(payload) <= CHUNK and len(payload) % 4 == 0 for _, payload in sequences)
    data = base64.b64decode("".join(payload for _, payload in sequences))
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == PALETTE[pixels]).all()


def test_kitty_through_tmux_is_the_same_with_each_sequence_wrapped() -> None:
    bitmap = Bitmap(np.zeros((4, 4), np.uint8), PALETTE)
    wrapped = encode_kitty(bitmap, 5, 2, 1, "tmux")
    inner = "".join(re.findall(r"\x1bPtmux;((?:\x1b\x1b|[^\x1b])*)\x1b\\", wrapped)).replace("\x1b\x1b", "\x1b")
    assert inner == encode_kitty(bitmap, 5, 2, 1)


def test_placeholders_name_rows_and_the_picture() -> None:
    lines = placeholders(0x010203, 5, 3)
    assert [line.cell_length for line in lines] == [5, 5, 5]
    assert [line.text for line in lines] == [
        PLACEHOLDER + NUMBERS[row] + NUMBERS[0] + PLACEHOLDER * 4 for row in range(3)
    ]
    style = next(iter(lines[0])).style
    assert style is not None and style.color is not None and style.color.triplet == (1, 2, 3)
    assert len(set(NUMBERS)) == len(NUMBERS) > 100
    assert placeholders(1, 5, len(NUMBERS) + 1) == []


def test_a_picture_too_large_for_the_line_is_drawn_coarser() -> None:
    tried: list[int] = []

    def encoded(coarseness: int) -> str:
        tried.append(coarseness)
        return "x" * (BYTES_A_PICTURE * 5 // coarseness**2)

    assert 0 < len(within_budget(encoded, coarsest=16)) <= BYTES_A_PICTURE
    assert tried == [1, 2, 3]
    assert within_budget(encoded, coarsest=2) == ""


@pytest.mark.parametrize(
    ("wanted", "terminal", "graphics", "given"),
    [
        ("half", GOOD, Graphics(), "half"),
        ("off", GOOD, Graphics(), "off"),
        ("sixel", GOOD, Graphics(True, sixel=True, cell=(20, 10)), "sixel"),
        ("sixel", GOOD, Graphics(True, sixel=True), "half"),
        ("sixel", GOOD, Graphics(True), "half"),
        ("kitty", GOOD, Graphics(True, kitty=True), "kitty"),
        ("kitty", GOOD, Graphics(), "half"),
        ("kitty", Terminal("xterm", "256", "", "utf-8", 80, 24, False), Graphics(True, kitty=True), "half"),
    ],
)
def test_what_a_terminal_cannot_take_becomes_half_blocks_and_is_said(
    wanted: Images, terminal: Terminal, graphics: Graphics, given: str
) -> None:
    output, complaint = choose_output(wanted, terminal, graphics)
    assert output.images == given
    assert bool(complaint) == (wanted != given)


@pytest.mark.parametrize(("allowed", "given"), [("on", "kitty"), ("off", "half")])
def test_kitty_in_tmux_needs_its_permission(monkeypatch: pytest.MonkeyPatch, allowed: str, given: str) -> None:
    monkeypatch.setattr(images, "tmux_option", lambda _: allowed)
    inside = Terminal("tmux-256color", "true", "tmux", "utf-8", 120, 40, False)
    assert choose_output("kitty", inside, Graphics(True))[0].images == given


def test_lines_that_something_else_stands_on_are_sent_again() -> None:
    from textual._compositor import LayoutUpdate
    from textual.strip import Strip

    painted = Painted()
    update = LayoutUpdate([[Strip.blank(4)], [Strip.blank(4)]], Region(0, 0, 4, 2))
    assert len(painted.difference(update).pieces) == 2
    assert painted.difference(update).pieces == []
    painted.forget_lines(1, 2)
    assert [y for _, y, _ in painted.difference(update).pieces] == [1]


async def test_a_pane_in_kitty_shows_half_blocks_first_and_then_the_bitmap(hits: FakeSession) -> None:
    sent: list[str] = []
    async with opened(hits, (120, 40), output=PictureOutput("kitty")) as driver:
        driver.app._driver.write = sent.append  # type: ignore[union-attr, method-assign]
        await driver.ready()
        await driver.shows("▀▀")
        await driver.until(lambda: any("\x1b_Ga=T" in text for text in sent), "the picture")
        await driver.shows(PLACEHOLDER)
        await driver.press("j")
        await driver.until(lambda: any("\x1b_Ga=d" in text for text in sent), "the first picture's end")
        await driver.until(lambda: sum("\x1b_Ga=T" in text for text in sent) == 2, "the second picture")
    data = [text for text in sent if "\x1b_Ga=T" in text]
    keys = [next(kitty_sequences(text))[0] for text in data]
    assert keys[0]["i"] != keys[1]["i"]
    pane_rows = int(keys[0]["r"])
    payload = base64.b64decode("".join(payload for _, payload in kitty_sequences(data[0])))
    assert Image.open(io.BytesIO(payload)).size == (64, 48) and pane_rows > 10


async def test_no_picture_is_drawn_where_pictures_are_off(hits: FakeSession) -> None:
    async with opened(hits, output=PictureOutput("off")) as driver:
        await driver.ready()
        await driver.shows("Pictures are off")
        assert "▀" not in "".join(line for line in driver.text().splitlines()[2:20])
        await driver.press("a")
        await driver.shows("accepted")


async def test_letters_take_no_bitmap(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("photon_triage.tui.widgets.picture_painter.REST_S", 0.001)
    sent: list[str] = []
    async with opened(hits, output=PictureOutput("kitty")) as driver:
        driver.app._driver.write = sent.append  # type: ignore[union-attr, method-assign]
        await driver.ready()
        await driver.shows("letters")
        assert driver.main.query_one(PreviewPane).letters
        await driver.press("j")
        await driver.until(lambda: driver.picture.shown_id == driver.list.selected == 2)
        for worker in [worker for worker in driver.app.workers if worker.group == "bitmap"]:
            await worker.wait()
    assert not any("\x1b_G" in text for text in sent)


async def test_a_pane_in_sixel_sends_them_to_its_place_when_the_cursor_rests(hits: FakeSession) -> None:
    sent: list[str] = []
    async with opened(hits, (120, 40), output=PictureOutput("sixel", (15, 8))) as driver:
        driver.app._driver.write = sent.append  # type: ignore[union-attr, method-assign]
        await driver.ready()
        await driver.until(lambda: any("\x1bP0;1;0q" in text for text in sent), "the picture")
        region = driver.picture.content_region
    data = next(text for text in sent if "\x1bP0;1;0q" in text)
    place = re.match(r"\x1b\[(\d+);(\d+)H", data)
    assert place is not None
    top, left = int(place[1]) - 1, int(place[2]) - 1
    height, width, _ = sixel_pixels(data[data.index("\x1bP0;1;0q") :]).shape
    assert region.y <= top and region.x <= left
    assert top + height / 15 <= region.bottom and left + width / 8 <= region.right
    assert width / height == pytest.approx(64 / 48, rel=0.1)


def noisy(fake: FakeSession, light: float) -> Picture:
    pixels = np.random.default_rng(0).poisson(light, (400, 600)).astype(np.float32)
    preview = Preview(fake.key(0), pixels, np.ones((400, 600), bool), 0, 0, 400, 600)
    return Picture(FrameRow(1, fake.key(0), "r", 0.0, 3, True, 0.5, None, {}), preview, "", Finds(), counts=True)


def test_a_budget_holds_for_frames_of_noise(hits: FakeSession) -> None:
    faint, bright = noisy(hits, 0.003), noisy(hits, 3.0)
    assert 1000 < len(sixel_of(faint, Look(), 60, 20, (20, 10))) < BYTES_A_PICTURE + 1000
    assert sixel_of(bright, Look(), 90, 40, (20, 10)) == ""
    assert 1000 < len(kitty_of(bright, Look(), 90, 40, (20, 10), 1, "")) < BYTES_A_PICTURE
