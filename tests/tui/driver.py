"""Opens a fake session in Textual's test terminal, presses keys, and waits for what must appear."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.preview import Previewer
from photon_triage.tui.app import TriageApp
from photon_triage.tui.screens.main.screen import MainScreen
from photon_triage.tui.terminal.images import PictureOutput
from photon_triage.tui.widgets.candidates import CandidateList
from photon_triage.tui.widgets.preview import PreviewPane

from .fake_session import FakeSession, FakeSource

PATIENCE_S = 15.0
SIZES = {"narrow": (80, 24), "medium": (120, 40), "wide": (200, 60)}


@dataclass
class Driver:
    """An open screen and the hands on its keys."""

    fake: FakeSession
    source: FakeSource
    app: TriageApp
    pilot: Pilot[Any]

    @property
    def main(self) -> MainScreen:
        """The main screen, also where another one is over it."""
        return next(screen for screen in self.app.screen_stack if isinstance(screen, MainScreen))

    @property
    def list(self) -> CandidateList:
        """The candidate list."""
        return self.main.query_one(CandidateList)

    @property
    def picture(self) -> PreviewPane:
        """The preview."""
        return self.main.query_one(PreviewPane)

    @property
    def focus(self) -> str | None:
        """The id of the pane that has the focus."""
        return self.main.focused.id if self.main.focused else None

    def text(self) -> str:
        """What stands on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        await self.pilot.press(*keys)

    async def until(self, holds: Callable[[], object], what: str = "") -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"waited in vain for {what or holds}\n{self.text()}"
            await self.pilot.pause(0.01)

    async def shows(self, *texts: str) -> None:
        """Wait until all of these stand on the screen."""
        for text in texts:
            await self.until(lambda text=text: text in self.text(), f"{text!r}")  # type: ignore[misc]

    async def ready(self) -> None:
        """Wait for the list and for the picture of the first frame."""
        await self.until(lambda: self.list.row is not None, "the first row")
        await self.until(lambda: self.picture.shown_id == self.list.selected, "the first picture")

    def on_disk(self) -> dict[int, Label]:
        """The labels that the journals hold, by the frame's index."""
        return {key.index: label for key, label in self.fake.session.labels().labels.items()}


@asynccontextmanager
async def opened(
    fake: FakeSession,
    size: tuple[int, int] = (80, 24),
    *,
    keymap: str = "",
    source: FakeSource | None = None,
    output: PictureOutput | None = None,
    theme: str | None = None,
) -> AsyncIterator[Driver]:
    """The screen of a session, closed at the end."""
    source = source or FakeSource()
    path = Path(fake.session.path.parent / "keymap.toml")
    path.write_text(keymap, encoding="utf-8")
    previewer = Previewer(fake.session.recipe(), source)
    app = TriageApp(fake.session, previewer=previewer, keymap=path, output=output, theme=theme)
    async with app.run_test(size=size) as pilot:
        yield Driver(fake, source, app, pilot)
