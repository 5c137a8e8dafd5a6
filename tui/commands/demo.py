"""`photon-triage demo`: a simulated beamtime, triaged while it is being written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from photon_triage.tui.commands.demo_reports import DEMONSTRATIONS
from photon_triage.tui.commands.output import progress_bar, say, say_json
from photon_triage.tui.commands.sessions import count_frames
from photon_triage.tui.terminal.display import Display, ImagesOption, ThemeOption, chosen_display
from photon_triage.tui.terminal.terminal import require_screen

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session

SCREEN_SECONDS, HEADLESS_SECONDS = 600, 60
CATCH_UP_S = 60.0
"""Seconds without a new frame, after the last is written, from which the engine counts as stuck."""

LOOK_S = 0.1


@dataclass(frozen=True)
class _Beamtime:
    kind: str
    folder: Path
    session: Session
    simulator: subprocess.Popen[bytes]
    frames: int


def demo(
    kind: Annotated[
        Literal["spi", "tomo", "cryoet"], typer.Option(help="What is simulated, and by which recipe.")
    ] = "spi",
    seconds: Annotated[
        int | None, typer.Option(min=1, help="Length of the beamtime; 600 with a screen, 60 without.")
    ] = None,
    screen: Annotated[
        bool, typer.Option(help="Open the screen; without it the metrics are printed at the end.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the simulation; the model was trained on other seeds.")] = 2018,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for data and session, kept; else a temporary one.")
    ] = None,
    images: ImagesOption = None,
    theme: ThemeOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON (with --no-screen).")] = False,
) -> None:
    """Simulate a beamtime, triage it with the embedded models, and show it.

    spi: single-particle imaging, 20 frames a second. tomo: slices of a degrading implant in bone, 2 a second. cryoet:
    tomogram slices of minicells with injectisomes, 1 a second.

    Without a screen, or where there is no terminal, the metrics against the simulation's truth are printed.
    """
    display = chosen_display(images, theme)
    if screen and sys.stdout.isatty():
        require_screen("To see its metrics alone: --no-screen.")
        code = _show(kind, seconds or SCREEN_SECONDS, seed, keep, display)
        say("The demonstration has ended.")
    else:
        code = 0
        with _beamtime(kind, seconds or HEADLESS_SECONDS, seed, keep) as beamtime:
            _measure(beamtime, as_json=as_json)
    if keep is not None:
        say(f"Data and session are kept in {keep}.")
    raise typer.Exit(code)


def _show(kind: str, seconds: int, seed: int, keep: Path | None, display: Display) -> int:
    from photon_triage.tui.app import run_screen

    with ExitStack() as stack:
        beamtime = stack.enter_context(_beamtime(kind, seconds, seed, keep))
        say(f"Simulated data in {beamtime.folder}, session {beamtime.session.path}")
        return run_screen(beamtime.session.path, display=display, ending=stack.close)


def _measure(beamtime: _Beamtime, *, as_json: bool) -> None:
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.engine.process import engine_status

    with progress_bar("simulated beamtime", beamtime.frames, quiet=as_json) as advance:
        before, moved = 0, time.monotonic()
        while (seen := count_frames(beamtime.session).frames) < beamtime.frames:
            advance(seen)
            if seen > before or beamtime.simulator.poll() is None:
                before, moved = seen, time.monotonic()
            engine = engine_status(beamtime.session)
            if engine.status in ("failed", "died") or time.monotonic() > moved + CATCH_UP_S:
                reason = (engine.state.message or "no reason").rstrip(".")
                if engine.status == "died":
                    reason = "its engine was killed, or has crashed"
                raise SessionError(
                    f"The demonstration saw {seen} of {beamtime.frames} frames: {reason}.",
                    f"The engine's log ends: {_last_lines(beamtime.session.log_path)}",
                    title="Demonstration failed",
                )
            time.sleep(LOOK_S)
        advance(seen)
    kind = DEMONSTRATIONS[beamtime.kind]
    report = {"frames_written": beamtime.frames, **kind.report(beamtime.session, beamtime.folder)}
    if as_json:
        say_json(report)
        return
    say(f"Simulated data, {report['frames_written']} frames written, {report['frames_seen']} seen.")
    kind.tell(report)


@contextmanager
def _beamtime(kind: str, seconds: int, seed: int, keep: Path | None) -> Iterator[_Beamtime]:
    """A simulation and an engine at work; both are ended, and a temporary folder is removed, in the end."""
    from photon_triage.core.engine.process import start_engine, stop_engine
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session

    place = Path(tempfile.mkdtemp(prefix="photon-triage-demo-")) if keep is None else keep.expanduser().resolve()
    folder = place / "data"
    folder.mkdir(parents=True, exist_ok=True)
    session = Session.create(place / "session", recipe_text(kind), kind)
    rate = DEMONSTRATIONS[kind].rate_hz
    frames = seconds * rate
    runs = -(-seconds // DEMONSTRATIONS[kind].seconds_a_run)
    command = [sys.executable, "-P", "-m", "photon_triage.tui", "simulate", kind, str(folder), "--quiet"]
    options = {"frames": frames, "rate": rate, "runs": runs, "seed": seed}
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with (place / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        start_engine(session, [folder])
        yield _Beamtime(kind, folder, session, simulator, frames)
    finally:
        simulator.terminate()
        simulator.wait()
        stop_engine(session)
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)


def _last_lines(log: Path) -> str:
    from photon_triage.core.common.containment import LARGEST_TABLE, read_bytes

    try:
        return json.dumps(read_bytes(log, log.parent, LARGEST_TABLE).decode(errors="replace").splitlines()[-3:])
    except OSError:
        return "nothing"
