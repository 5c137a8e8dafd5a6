"""`photon-triage engine`: how a session's engine is, and how to end it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.sessions import DeviceOption, summary, summary_lines
from photon_triage.tui.commands.watch import AlarmOption

if TYPE_CHECKING:
    from photon_triage.core.engine.process import EngineStatus

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SessionPath = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]


@app.command()
def status(
    session_path: SessionPath, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Say how the engine is; ends with 1 when none is at work."""
    from photon_triage.core.engine.process import engine_status
    from photon_triage.core.engine.restart import job_of
    from photon_triage.core.session.presence import busy_text
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    engine = engine_status(session)
    state = engine.state
    counts = summary(session) if session.results_path.exists() else {}
    if as_json:
        say_json(engine.to_json() | {"counts": counts})
    else:
        rows = [("engine", _word(engine))]
        if state.status:
            who = f", started by {job.who}" if (job := job_of(state)) else ""
            rows.append(("process", f"{state.pid} on {state.host}{who}"))
            rows.append(("heartbeat", f"{time.time() - state.heartbeat:.1f} s ago"))
        if state.model:
            rows.append(("model", f"{state.model} on {state.device}"))
        if state.working_since:
            rows.append(("rate", f"{state.rate_hz:.1f} frames a second"))
            behind = f"{state.lag_s:.1f} s, {state.queue} frames"
            rows.append(("behind", f"{behind}; {state.passed_over} of them to be caught up"))
        if state.shadow:
            rows.append(("shadow", f"{state.shadow}, {state.shadow_scored} frames scored"))
        if engine.alive and (busy := busy_text(state)):
            rows.append(("busy", busy))
        if engine.alive and state.stalled_s:
            rows.append(("trouble", f"the file system has not answered for {state.stalled_s:.0f} s"))
        for place, reason in state.problems.items():
            rows.append(("trouble", f"{place} cannot be listed: {reason}"))
        if state.trouble:
            rows.append(("trouble", state.trouble))
        if counts:
            rows.append(("frames", f"{counts['frames']} done, {counts['pending']} to do, {counts['hits']} hits"))
            given_up = f"{counts['missing']} miss something, {counts['unreadable']} unreadable"
            rows.append(("files", f"{counts['files']}, {given_up}"))
            rows += summary_lines(session)
        if state.message:
            rows.append(("last", state.message))
        say_table(rows)
    if not engine.alive:
        raise typer.Exit(1)


def _word(engine: EngineStatus) -> str:
    """The engine's state in a few words."""
    status = engine.status or "never started"
    if engine.silent_s:
        return f"{status}, but it does not answer for {engine.silent_s:.0f} s"
    if status == "died":
        return "died (not at work): it was killed, or has crashed; engine.log says more"
    return status if engine.alive else f"{status} (not at work)"


@app.command()
def stop(session_path: SessionPath) -> None:
    """Stop the engine after the batch in hand; everything it recorded stays."""
    from photon_triage.core.engine.process import stop_engine
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    if stop_engine(session):
        say(f"The engine of {session.path} has stopped.")
    else:
        say(f"No engine was at work on {session.path}.")


@app.command()
def restart(session_path: SessionPath, device: DeviceOption = None, alarm_command: AlarmOption = None) -> None:
    """Stop the engine and start another one on the same paths, under your account.

    Whoever may write in the session can restart an engine that somebody else started, on the host where it runs. Its
    alarm command is not taken over.
    """
    from photon_triage.core.engine.restart import restart_engine
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.alarms import command_words

    session = Session.open(session_path)
    command = command_words(alarm_command) if alarm_command else ()
    job, engine = restart_engine(session, device=device, alarm_command=command)
    say(f"The engine of {session.path}, which {job.who} had started, has stopped; process {engine.pid} is at work now.")
    say(f"It watches {', '.join(map(str, job.paths))}.")
    if job.alarms and not command:
        say("The alarm command of the engine before was not taken over: give it with --alarm-command.")
