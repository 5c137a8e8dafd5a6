"""How fast and how safe the hands on the keys are: pictures that are there before the key, and a kill amid decisions.

Makes a session of some thousand frames. First walks through it at so many decisions a second, with frames read ahead
and without, in turns, and tells how often the next picture was there and how long it took from the key. Then keys 500
decisions on one of two screens while another process records 1,000 results a second, kills that screen with SIGKILL in
their middle, and tells how many decisions it had called saved, how many are in the journals, and how long the other
screen took to show them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine
from screen import Feeder, build
from screen_pty import Screen

KEYED = 500
PACE_S = 0.02
SAVED = re.compile(rb"accepted \((\d+) undoable")
ACCEPTED = re.compile(rb"(\d+)A")


async def walk(session: Path, per_s: float, decisions: int, *, ahead: bool) -> dict[str, Any]:
    """Decide at that pace; share of pictures that were there, and milliseconds from key to picture."""
    from photon_triage.core.session.session import Session
    from photon_triage.tui.app import TriageApp
    from photon_triage.tui.screens.main.screen import MainScreen

    app = TriageApp(Session.open(session))
    waits = []
    async with app.run_test(size=(120, 40)) as pilot:
        main = next(screen for screen in app.screen_stack if isinstance(screen, MainScreen))
        if not ahead:
            main.picture._ahead = list  # type: ignore[method-assign]
        while main.triage.picture.shown_id is None:
            await pilot.pause(0.05)
        await pilot.press("j")
        await pilot.pause(0.5)
        gallery = main.gallery
        gallery.found = gallery.missed = 0
        for _ in range(decisions):
            begun = time.perf_counter()
            before = main.triage.list.selected
            app.post_message(_key("a"))
            while main.triage.list.selected == before or main.triage.picture.shown_id != main.triage.list.selected:
                await asyncio.sleep(0.001)
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(max(1 / per_s - waits[-1], 0))
        seen = gallery.found + gallery.missed
    p50, p95 = (1e3 * float(np.percentile(waits, percent)) for percent in (50, 95))
    return {"there_before": gallery.found / seen, "key_to_picture_ms_p50": p50, "key_to_picture_ms_p95": p95}


def _key(character: str) -> Any:
    from textual.events import Key

    return Key(character, character)


def accepted(session: Path) -> int:
    """Accepted frames, by the journals."""
    from photon_triage.core.session.session import Session

    return sum(label.verdict == "accepted" for label in Session.open(session).labels().labels.values())


def kill(session: Path) -> dict[str, Any]:
    """Kill one of two screens amid decisions; what was called saved, what is kept, when the other showed it."""
    with Feeder(session, 1000), Screen(session, (80, 24)) as one, Screen(session, (80, 24)) as other:
        one.until("\u25b6")
        other.until("\u25b6")
        one.press("j")
        one.rest(2.0)
        before = accepted(session)
        said, keyed, seen = 0, 0, b""
        while said < KEYED // 2 and keyed < KEYED:
            one.press("a")
            keyed += 1
            due = time.monotonic() + PACE_S
            while (left := due - time.monotonic()) > 0:
                seen = seen[-200:] + one.read(left)
                said = max([said, *(int(found) for found in SAVED.findall(seen))])
            other.read(0.0)
        one.kill()
        killed, shown, text = time.monotonic(), 0, b""
        while shown < before + said:
            text = text[-200:] + other.read(0.5)
            shown = max([shown, *(int(found) for found in ACCEPTED.findall(text))])
            if time.monotonic() - killed > 30:
                break
        after = time.monotonic() - killed
        kept = accepted(session) - before
    return {"keyed": keyed, "called_saved": said, "kept": kept, "shown_by_the_other_s": after}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--decisions", type=int, default=60)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--per-second", default="2,5", help="decisions a second")
    parser.add_argument("--quick", action="store_true", help="2,000 frames, 10 decisions, one turn of 5 a second")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.quick:
        options.frames, options.decisions, options.turns, options.per_second = 2_000, 10, 1, "5"
    with tempfile.TemporaryDirectory() as folder:
        session = build(Path(folder), options.frames, 1)
        report: dict[str, Any] = {"machine": machine()}
        for per_s in options.per_second.split(","):
            for turn in range(options.turns):
                for ahead in (True, False):
                    name = f"{per_s} a second, {'read ahead' if ahead else 'not ahead'}, turn {turn + 1}"
                    report[name] = asyncio.run(walk(session, float(per_s), options.decisions, ahead=ahead))
        report["kill -9"] = kill(session)
    if options.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for name, value in report.items():
        sys.stdout.write(f"{name}: {json.dumps(value)}\n")


if __name__ == "__main__":
    main()
