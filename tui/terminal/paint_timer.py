"""When the screen is painted: as soon as something has changed and nothing else is to be done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from textual._types import MessageTarget
from textual.timer import EventTargetGone, Timer

REST_S = 0.004
"""Between two paintings, so that what changes at about the same time is painted in one stroke."""


class PaintTimer(Timer):
    """Paints shortly after it is resumed.

    Textual's own paints at the ticks of a clock of 60 Hz, and after each painting it passes over one: a key that comes
    after new numbers would be answered 17 to 33 ms late.
    """

    def __init__(self, target: MessageTarget, paint: Callable[[], None]) -> None:
        super().__init__(target, REST_S, name="paint", callback=paint, pause=True)

    async def _run(self) -> None:
        wanted: asyncio.Event = self._active
        while True:
            await wanted.wait()
            try:
                await self._tick(next_timer=0.0, count=1)
            except EventTargetGone:
                return
            await asyncio.sleep(REST_S)
