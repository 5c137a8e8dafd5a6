"""What can go wrong under a screen: full disks, files that are gone, names that mean harm."""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path

import pytest
from textual.widgets import Input

from photon_triage.tui.terminal.text import cells, cut, safe_text

from ..driver import SIZES, opened
from ..fake_session import FakeSession, FakeSource

HOSTILE = [
    "run[/red].h5",
    "run[red]01.h5",
    "[@click=app.quit]x[/].h5",
    "a\x1b]52;c;aGk=\x07b.h5",
    "clear\x1b[2Jme.h5",
    "c1\x9b31m.h5",
    "bidi\u202egpj.h5",
    "line\nbreak\ttab.h5",
    "$accent %s {x}.h5",
]
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


async def test_hostile_names_are_shown_as_they_are_and_steer_nothing(fake: FakeSession) -> None:
    for name in HOSTILE:
        fake.add_file(name, run=name)
        fake.add_frames(1, name)
    fake.run_engine(message=f"opened {HOSTILE[3]}", model=HOSTILE[0])
    async with opened(fake, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.until(lambda: all(safe_text(Path(name).name)[:5] in driver.text() for name in HOSTILE))
        for place in range(len(HOSTILE)):
            await driver.press("a")
            await driver.until(lambda place=place: place in driver.on_disk())  # type: ignore[misc]
            await driver.until(lambda: driver.picture.shown_id == driver.list.selected)
            assert not CONTROL.search(driver.text())
        await driver.press("y", "question_mark", "question_mark", "slash", *HOSTILE[0], "enter")
        await driver.until(lambda: len(driver.list.ids) == 1)
        await driver.shows("run[/red].h5", "model    run[/red].h5")
        assert not CONTROL.search(driver.text())


async def test_a_name_that_is_not_utf8_is_shown_escaped(fake: FakeSession) -> None:
    # SQLite refuses surrogates, so such a name reaches the screen through messages only.
    fake.add_frames(2)
    fake.run_engine(message="could not read run\udcff.h5")
    async with opened(fake, SIZES["wide"]) as driver:
        await driver.shows("could not read run\\xff.h5")


async def test_an_engine_that_failed_says_why(fake: FakeSession) -> None:
    fake.add_frames(2)
    fake.run_engine(status="failed", message="no model named 'x'")
    async with opened(fake, SIZES["medium"]) as driver:
        await driver.shows("ENGINE FAILED", "engine failed: no model named 'x'")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
async def test_what_could_not_be_saved_stays_undecided_under_a_banner(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        real = os.fsync

        def fails(_: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("photon_triage.core.session.decisions.journal.os.fsync", fails)
        await driver.press("a")
        await driver.shows("Not saved", "▶       1 0.990  70.5 ?")
        monkeypatch.setattr("photon_triage.core.session.decisions.journal.os.fsync", real)
        await driver.press("x")
        await driver.until(lambda: "Not saved" not in driver.text())
        await driver.shows("1 0.990  70.5 X")


async def test_nothing_is_shown_as_decided_before_it_is_on_disk(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        gate, real = threading.Event(), os.fsync

        def waits(descriptor: int) -> None:
            gate.wait(20)
            real(descriptor)

        monkeypatch.setattr("photon_triage.core.session.decisions.journal.os.fsync", waits)
        await driver.press("a")
        await driver.shows("1 0.990  70.5 …", "▶       2 0.980  70.5 ?")
        assert "accepted (" not in driver.text()
        await driver.press("j")
        assert driver.list.selected == 3, "the screen answers while the disk does not"
        gate.set()
        await driver.shows("1 0.990  70.5 A", "✓ 1 accepted")


async def test_a_frame_whose_file_is_gone_says_so_in_its_pane(hits: FakeSession) -> None:
    source = FakeSource()
    source.gone.add(hits.key(0).file)
    # Wide enough that the line is not broken, whatever the length of the folder's name.
    async with opened(hits, (400, 40), source=source) as driver:
        await driver.shows("there is no such file.")
        await driver.press("a")
        await driver.until(lambda: 0 in driver.on_disk())


async def test_an_export_is_written_where_the_operator_says(hits: FakeSession, tmp_path: Path) -> None:
    async with opened(hits, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("a", "e")
        await driver.shows("format (↑↓)", "[crystfel]", "[accepted]")
        await driver.press("ctrl+t")
        driver.app.screen.query_one(Input).value = str(tmp_path / "out.lst")
        await driver.press("enter")
        await driver.shows("1 frames in")
        assert (tmp_path / "out.lst").read_text() == f"{hits.key(0).file} //0\n"


async def test_an_export_that_fails_says_why(hits: FakeSession, tmp_path: Path) -> None:
    async with opened(hits, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("e", "down", "tab", "ctrl+t")
        await driver.shows("[csv]", "[predicted]", "predicted-")
        driver.app.screen.query_one(Input).value = str(tmp_path / "no" / "out.csv")
        await driver.press("enter")
        await driver.shows("✗ Could not write")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        ("\x1b[31m", "\\e[31m"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u202e\u2066", "\\u202e\\u2066"),
        ("\udcff\ud800", "\\xff\\ud800"),
        ("a\nb\r\t", "a\\nb\\r\\t"),
    ],
)
def test_safe_text_shows_what_could_steer_a_terminal(raw: str, shown: str) -> None:
    assert safe_text(raw) == shown


@pytest.mark.parametrize(
    ("text", "width", "expected"), [("abcdefgh", 5, "ab…gh"), ("abc", 3, "abc"), ("漢漢漢", 5, "漢…漢")]
)
def test_cut_keeps_both_ends_within_the_width(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected
    assert cells(cut(text, width)) <= width
