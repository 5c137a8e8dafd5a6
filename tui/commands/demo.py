"""`photon-triage demo`: a simulated beamtime, triaged while it is being written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table
from photon_triage.tui.commands.sessions import count_frames

if TYPE_CHECKING:
    from photon_triage.core.metrics import Confusion
    from photon_triage.core.session.session import Session

RATE_HZ = 20
SECONDS_A_RUN = 20
SCREEN_SECONDS, HEADLESS_SECONDS = 600, 60
CATCH_UP_S = 60.0
LOOK_S = 0.1


@dataclass(frozen=True)
class _Beamtime:
    folder: Path
    session: Session
    simulator: subprocess.Popen[bytes]
    frames: int


def demo(
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
    as_json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON (with --no-screen).")] = False,
) -> None:
    """Simulate a beamtime at 20 frames a second, triage it with the embedded model, and show it.

    Without a screen, or where there is no terminal, the metrics against the simulation's truth are printed.
    """
    if screen and sys.stdout.isatty():
        with _beamtime(seconds or SCREEN_SECONDS, seed, keep) as beamtime:
            say(f"Simulated data in {beamtime.folder}, session {beamtime.session.path}")
            _show(beamtime)
    else:
        with _beamtime(seconds or HEADLESS_SECONDS, seed, keep) as beamtime:
            _measure(beamtime, as_json=as_json)


def _show(beamtime: _Beamtime) -> None:
    from photon_triage.tui.app import run_screen

    code = run_screen(beamtime.session.path)
    say("The demonstration has ended; its engine stops.")
    if code:
        raise typer.Exit(code)


def _measure(beamtime: _Beamtime, *, as_json: bool) -> None:
    from photon_triage.core.errors import SessionError

    with progress_bar("simulated beamtime", beamtime.frames, quiet=as_json) as advance:
        caught_up_by = float("inf")
        while (seen := count_frames(beamtime.session).frames) < beamtime.frames:
            advance(seen)
            if beamtime.simulator.poll() is not None and caught_up_by == float("inf"):
                caught_up_by = time.monotonic() + CATCH_UP_S
            state = beamtime.session.engine_state()
            if state.get("status") == "failed" or time.monotonic() > caught_up_by:
                raise SessionError(
                    f"The demonstration saw {seen} of {beamtime.frames} frames: {state.get('message') or 'no reason'}.",
                    f"The engine's log ends: {_last_lines(beamtime.session.log_path)}",
                    title="Demonstration failed",
                )
            time.sleep(LOOK_S)
        advance(seen)
    report = _report(beamtime)
    if as_json:
        say_json(report)
        return
    say(f"Simulated data, {report['frames_written']} frames written, {report['frames_seen']} seen.")
    say(f"Single hits at threshold {report['threshold']:g}, against the truth of {report['labels']} frames:")
    rows = []
    for name in ("precision", "recall", "f1"):
        low, high = report[f"{name}_interval"]
        rows.append((name, "undefined" if report[name] is None else f"{report[name]:.3f}", f"[{low:.3f}, {high:.3f}]"))
    say_table(rows)
    say(f"The best lit-pixel threshold within the size window has an F1 of {report['baseline_f1']:.3f}.")


def _report(beamtime: _Beamtime) -> dict[str, Any]:
    """The metrics against the truth, as JSON values."""
    from photon_triage.core.metrics import best_threshold, confusion_at
    from photon_triage.core.session.label_files import match_files, read_labels
    from photon_triage.core.simulate.truth import TRUTH_FILE

    session = beamtime.session
    reader = session.results()
    try:
        frames, files, models = list(reader.all_frames()), reader.files(), reader.state().get("model")
    finally:
        reader.close()
    labels = match_files(read_labels(beamtime.folder / TRUTH_FILE), files)
    truth = {label.key: label.verdict == "accepted" for label in labels}
    threshold = session.threshold()
    confusion = confusion_at({frame.key: frame.score for frame in frames}, truth, threshold).confusion
    reached = session.recipe().stages_before_network
    lit = {frame.key: frame.measures.get("lit_pixels") if frame.passed >= reached else None for frame in frames}
    lit_threshold = best_threshold(lit, truth)
    baseline = confusion_at(lit, truth, lit_threshold if lit_threshold is not None else float("inf")).confusion
    in_window = [truth[frame.key] for frame in frames if frame.passed >= reached and frame.key in truth]
    return {
        "frames_written": beamtime.frames,
        "frames_seen": len(frames),
        "labels": confusion.n,
        "threshold": threshold,
        **_estimates(confusion),
        "baseline_f1": baseline.f1.value or 0.0,
        "baseline_lit_pixels": lit_threshold,
        "single_hits": sum(truth.values()),
        "in_size_window": len(in_window),
        "single_hits_in_size_window": sum(in_window),
        "model": models,
        "simulated": True,
    }


def _estimates(confusion: Confusion) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("precision", "recall", "f1"):
        estimate = getattr(confusion, name)
        found[name] = estimate.value
        found[f"{name}_interval"] = [estimate.low, estimate.high]
    return found | {name: getattr(confusion, name) for name in ("tp", "fp", "fn", "tn")}


@contextmanager
def _beamtime(seconds: int, seed: int, keep: Path | None) -> Iterator[_Beamtime]:
    """A simulation and an engine at work; both are ended, and a temporary folder is removed, in the end."""
    from photon_triage.core.engine.process import start_engine, stop_engine
    from photon_triage.core.recipe import recipe_text
    from photon_triage.core.session.session import Session

    place = Path(tempfile.mkdtemp(prefix="photon-triage-demo-")) if keep is None else keep.expanduser().resolve()
    folder = place / "data"
    folder.mkdir(parents=True, exist_ok=True)
    session = Session.create(place / "session", recipe_text("spi"), "spi")
    frames = seconds * RATE_HZ
    command = [sys.executable, "-P", "-m", "photon_triage.tui", "simulate", "spi", str(folder), "--quiet"]
    options = {"frames": frames, "rate": RATE_HZ, "runs": -(-seconds // SECONDS_A_RUN), "seed": seed}
    command += [text for name, value in options.items() for text in (f"--{name}", str(value))]
    with (place / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        start_engine(session, [folder])
        yield _Beamtime(folder, session, simulator, frames)
    finally:
        simulator.terminate()
        simulator.wait()
        stop_engine(session)
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)
        else:
            say(f"Data and session are kept in {place}.")


def _last_lines(log: Path) -> str:
    try:
        return json.dumps(log.read_text(errors="replace").splitlines()[-3:])
    except OSError:
        return "nothing"
