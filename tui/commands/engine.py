"""`photon-triage engine`: how a session's engine is, and how to end it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.sessions import DeviceOption, summary, summary_lines
from photon_triage.tui.commands.watch import AlarmOption

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
    state = engine_status(session)
    counts = summary(session) if session.results_path.exists() else {}
    if as_json:
        say_json(state | {"counts": counts})
    else:
        rows = [("engine", _word(state))]
        if "pid" in state:
            who = f", started by {job.who}" if (job := job_of(state)) else ""
            rows.append(("process", f"{state['pid']} on {state.get('host')}{who}"))
        if "heartbeat" in state:
            rows.append(("heartbeat", f"{time.time() - state['heartbeat']:.1f} s ago"))
        if state.get("model"):
            rows.append(("model", f"{state['model']} on {state.get('device')}"))
        if "rate_hz" in state:
            rows.append(("rate", f"{state['rate_hz']:.1f} frames a second"))
            behind = f"{state.get('lag_s', 0.0):.1f} s, {state.get('queue', 0)} frames"
            rows.append(("behind", f"{behind}; {state.get('passed_over', 0)} of them to be caught up"))
        if state.get("shadow"):
            rows.append(("shadow", f"{state['shadow']}, {state.get('shadow_scored', 0)} frames scored"))
        if state["alive"] and (busy := busy_text(state)):
            rows.append(("busy", busy))
        if state["alive"] and state.get("stalled_s"):
            rows.append(("trouble", f"the file system has not answered for {state['stalled_s']:.0f} s"))
        for place, reason in (state.get("problems") or {}).items():
            rows.append(("trouble", f"{place} cannot be listed: {reason}"))
        if state.get("trouble"):
            rows.append(("trouble", str(state["trouble"])))
        if counts:
            rows.append(("frames", f"{counts['frames']} done, {counts['pending']} to do, {counts['hits']} hits"))
            given_up = f"{counts['missing']} miss something, {counts['unreadable']} unreadable"
            rows.append(("files", f"{counts['files']}, {given_up}"))
            rows += summary_lines(session)
        if state.get("message"):
            rows.append(("last", str(state["message"])))
        say_table(rows)
    if not state["alive"]:
        raise typer.Exit(1)


def _word(state: dict[str, Any]) -> str:
    """The engine's state in a few words."""
    status = str(state.get("status", "never started"))
    if state["silent_s"]:
        return f"{status}, but it does not answer for {state['silent_s']:.0f} s"
    if status == "died":
        return "died (not at work): it was killed, or has crashed; engine.log says more"
    return status if state["alive"] else f"{status} (not at work)"


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
    from photon_triage.core.session.alarms import command_words
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    command = command_words(alarm_command) if alarm_command else ()
    job, engine = restart_engine(session, device=device, alarm_command=command)
    say(f"The engine of {session.path}, which {job.who} had started, has stopped; process {engine.pid} is at work now.")
    say(f"It watches {', '.join(map(str, job.paths))}.")
    if job.alarms and not command:
        say("The alarm command of the engine before was not taken over: give it with --alarm-command.")
