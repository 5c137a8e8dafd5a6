"""Each screen at each size against the text that it was seen to show.

After a wanted change delete its text; `PHOTON_TRIAGE_SNAPSHOTS=write` writes those that are missing. Look at them
before they are committed.
"""

from __future__ import annotations

import os
import re
from difflib import unified_diff
from pathlib import Path

import pytest

from ..core.session.trainings.test_trainings import points, write_training
from .driver import SIZES, Driver, opened
from .fake_session import NOW, FakeSession
from .screens.test_trainings import compare_with, verdict
from .widgets.test_picture import GEOMETRY

SNAPSHOTS = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("PHOTON_TRIAGE_SNAPSHOTS") == "write"
STABLE = 150
"""Looks in a row that are to see the same before a text is written."""

STEPS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("main", (), ()),
    ("zoom", ("enter",), ("enter",)),
    ("sheet", ("c",), ("c",)),
    ("radial", ("i",), ("i",)),
    ("marked", ("g", "v", "j", "j"), ("v", "g")),
    ("threshold", ("left_square_bracket", "left_square_bracket"), ("u",)),
    ("filter", ("slash",), ("escape",)),
    ("queue", ("s",), ("escape",)),
    ("export", ("e",), ("escape",)),
    ("help", ("question_mark",), ("escape",)),
    ("palette", ("ctrl+p",), ("escape",)),
    ("runs", ("R",), ("R",)),
    ("powder", ("P",), ("q",)),
    ("trainings", ("T",), ()),
    ("begin", ("b",), ("escape",)),
)
"""A screen's name, the keys to it, and those back."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands still, so that what was seen minutes ago is drawn where it was."""
    monkeypatch.setattr("time.time", lambda: NOW)


def told(driver: Driver) -> str:
    """What stands on the screen, without the time of day and the folder of this run."""
    text = re.sub(r"\d\d:\d\d:\d\d", "hh:mm:ss", driver.text())
    # The end of a scroll bar depends on the length of the session's path, which the help shows.
    text = re.sub(r"([▁▂▃▄▅▆▇])\1 │", "▒▒ │", text)
    text = re.sub(r"\S*/session/exports/accepted-\d{8}-\d{6}(\S*) *", r"…/session/exports/accepted\1 ", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


async def looks_as(driver: Driver, name: str) -> str:
    """How the screen differs from what it is to show; "" where it comes to show just that."""
    path = SNAPSHOTS / f"{name}.txt"
    if WRITE and not path.exists():
        await write(driver, path)
    wanted = path.read_text(encoding="utf-8")
    try:
        await driver.until(lambda: told(driver) == wanted)
    except AssertionError:
        lines = wanted.splitlines(), told(driver).splitlines()
        return "\n".join(unified_diff(*lines, f"{name} wanted", f"{name} shown", lineterm="", n=0))
    return ""


async def write(driver: Driver, path: Path) -> None:
    """Take the text once it stands still."""
    path.parent.mkdir(exist_ok=True)
    seen, same = "", 0

    def stands_still() -> bool:
        nonlocal seen, same
        before, seen = seen, told(driver)
        same = same + 1 if seen == before else 0
        return same >= STABLE

    await driver.until(stands_still)
    path.write_text(seen, encoding="utf-8")


@pytest.mark.parametrize("size", SIZES)
async def test_each_screen_looks_as_it_was_seen(fake: FakeSession, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_file(geometry=GEOMETRY)
    fake.add_frames(40)
    fake.add_file("run_0143.h5", run="r0143", geometry=GEOMETRY)
    fake.add_frames(8, "run_0143.h5")
    fake.run_engine()
    fake.label({0: "accepted", 1: "accepted", 2: "rejected", 45: "rejected"})
    write_training(fake.session, "hitnet-spi-2", "done", points(100))
    compare_with(monkeypatch, verdict(better=True), note="p promotes · v lists what changed sides")
    differences = []
    async with opened(fake, SIZES[size]) as driver:
        await driver.ready()
        for name, there, back in STEPS:
            await driver.press(*there)
            differences.append(await looks_as(driver, f"{name}-{size}"))
            await driver.press(*back)
    assert not any(differences), "\n".join(differences)


@pytest.mark.parametrize("size", SIZES)
async def test_a_search_for_candidates_looks_as_it_was_seen(found: FakeSession, size: str) -> None:
    async with opened(found, SIZES[size]) as driver:
        await driver.ready()
        difference = await looks_as(driver, f"candidates-{size}")
    assert not difference, difference
