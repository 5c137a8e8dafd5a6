from __future__ import annotations

import numpy as np
import pytest

from photon_triage.core.session.store.powder import Powder, PowderSum, write_powder

from ..driver import SIZES, opened
from ..fake_session import FakeSession, rings


@pytest.mark.parametrize("size", SIZES)
async def test_the_powder_is_shown_by_key_view_after_view(hits: FakeSession, size: str) -> None:
    frame = np.maximum(rings(0), 0)
    parts = [PowderSum(n, n * frame.astype(np.float64), frame) for n in (40, 1200)]
    write_powder(hits.session.path, Powder(parts[0], parts[1], np.ones(frame.shape, np.bool_)))
    async with opened(hits, SIZES[size]) as screen:
        await screen.ready()
        await screen.press("P")
        await screen.shows("Powder  hits, mean", "40 hits, 1,200 misses", "▀▀▀")
        await screen.press("P")
        await screen.shows("Powder  misses, mean")
        await screen.press("P", "l")
        await screen.shows("Powder  hits less misses", "linear")
        await screen.press("q")
        await screen.shows("Candidates 40")


async def test_a_session_without_a_powder_says_what_is_missing(hits: FakeSession) -> None:
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("P")
        await screen.shows("no powder yet")
