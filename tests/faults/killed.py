"""Processes made to be killed: an engine, and screens on which keys are pressed without a pause.

They are forked from a server that has imported what they need, so that many can begin and end in a short time.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).parents[2])
MODULES = ["photon_triage.core.engine.pipeline", "photon_triage.tui.app", "photon_triage.core.session.store.preview"]


def begin(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start such a process; it finds this package where the tests are."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    process = context.Process(target=target, args=arguments)
    sys.path.append(ROOT)
    try:
        process.start()
    finally:
        sys.path.remove(ROOT)
    return process


def run_engine(session: Path, data: Path) -> None:
    """An engine on a session, until it is killed."""
    from photon_triage.core.engine.pipeline import Engine
    from photon_triage.core.engine.recorder import Recorder
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.writer import ResultsWriter

    opened = Session.open(session)
    Engine(opened, [data], Recorder(ResultsWriter(opened.results_path)), device="cpu").run()


def run_screen(session: Path, listener: Path) -> None:
    """A screen on a session, until it is killed: keys decide frames; what it says is saved goes to the listener."""
    from photon_triage.core.session.session import Session
    from photon_triage.tui.app import TriageApp
    from photon_triage.tui.screens.main.screen import MainScreen
    from photon_triage.tui.screens.main.triage import Triage
    from photon_triage.tui.widgets.candidates import CandidateList

    rng, heard = random.Random(os.getpid()), os.open(listener, os.O_WRONLY)
    told = Triage.report

    def tell(self: Any, text: str) -> None:
        os.write(heard, f"{os.getpid()} {text}\n".encode())  # one write: never torn
        told(self, text)

    Triage.report = tell  # type: ignore[method-assign]

    async def press() -> None:
        app = TriageApp(Session.open(session))
        async with app.run_test(size=(100, 30)) as pilot:
            main = next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))
            while main.query_one(CandidateList).row is None:
                await pilot.pause()
            while True:
                await pilot.press(rng.choice(["a", "a", "x", "j", "k", "G", "g", "space", "u"]))

    asyncio.run(press())
