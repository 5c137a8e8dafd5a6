from __future__ import annotations

import pytest

from ..driver import SIZES, opened
from ..fake_session import FakeSession


@pytest.mark.parametrize("size", SIZES)
async def test_runs_stand_on_the_screen_by_key_with_what_was_accepted_and_the_lag(fake: FakeSession, size: str) -> None:
    fake.add_file("run_0143.h5", run="r[0143]")
    fake.add_frames(12)
    fake.add_frames(30, "run_0143.h5")
    fake.label({0: "accepted", 1: "accepted"})
    fake.run_engine(lag_s=0.4)
    async with opened(fake, SIZES[size]) as screen:
        await screen.ready()
        await screen.press("R")
        await screen.shows("Runs", "r[0143]", "100.0%         0   0.4s", "100.0%         2      –")
        await screen.press("h")
        await screen.shows("against run")
        await screen.press("h", "h", "h")
        await screen.shows("against diameter_nm")
        await screen.press("R")
        await screen.shows("Candidates 42")


async def test_a_wide_screen_shows_the_rate_against_a_number_beside_the_list(hits: FakeSession) -> None:
    async with opened(hits, SIZES["wide"]) as screen:
        await screen.ready()
        for _ in range(5):
            await screen.press("h")
        await screen.shows("against lit_pixels", "n=40")
