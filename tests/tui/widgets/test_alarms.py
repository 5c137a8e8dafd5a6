from __future__ import annotations

import time

from ..driver import opened
from ..fake_session import FakeSession


async def test_an_alarm_stands_on_the_screen_and_rings_once(hits: FakeSession) -> None:
    rung: list[int] = []
    async with opened(hits) as screen:
        screen.app.bell = lambda: rung.append(1)  # type: ignore[method-assign]
        await screen.ready()
        alarm = {"kind": "rate", "text": "The hit rate fell [b]\x1b[2J to 1 %.", "since": time.time()}
        hits.run_engine(alarms=[alarm])
        await screen.shows("ALARM The hit rate fell [b]")
        hits.run_engine(alarms=[alarm], lag_s=0.7)
        await screen.shows("lag 0.7s")
        assert rung == [1]
        hits.run_engine(alarms=[])
        await screen.until(lambda: "ALARM" not in screen.text())
