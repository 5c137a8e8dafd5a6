"""Commands `watch`, `attach` and `engine`: screens on a session, and its engine started, stopped and described."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.terminal.text import safe_text

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.approvals import Kind
import time
from pathlib import Path

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.session import (
    AsOption,
    DeviceOption,
    Paths,
    RecipeOption,
    RootsOption,
    SessionOption,
    open_session,
    require_paths,
    summary,
    summary_lines,
)
from photon_triage.tui.terminal.terminal import Display, ImagesOption, ThemeOption, chosen_display, require_screen

if TYPE_CHECKING:
    from photon_triage.core.engine.process import EngineStatus


ApproveOption = Annotated[
    bool,
    typer.Option(
        "--approve-commands", help="Run the command that the session names, now and later, without a question."
    ),
]
AlarmOption = Annotated[
    str | None,
    typer.Option(
        "--alarm-command",
        metavar="CMD",
        help="Run this in your home folder for each alarm, its text as the last word.",
    ),
]
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
SessionPath = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]


def approved_alarm_command(session: Session, *, approve: bool) -> tuple[str, ...]:
    """The words of the recipe's alarm command, where this user has approved it or does so now; else none.

    Every command that starts an engine passes on what this gives: the engine runs no other command of the recipe.
    """
    words = session.recipe().alarms.command
    if not words or approved("alarm", words, f"The recipe of {session.path} runs this for each alarm", approve=approve):
        return words
    _say(f"Not run for alarms: {shlex.join(words)}. To approve it, add --approve-commands.")
    return ()


def approved(kind: Kind, words: Sequence[str], what: str, *, approve: bool) -> bool:
    """Whether a command is approved: before, by the option, or by an answer on the terminal.

    what: says who would run it, before the command is shown.
    """
    from photon_triage.core.session.trainings import approvals

    if approvals.is_approved(kind, words):
        return True
    if not approve:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        _say(f"{what}: {shlex.join(words)}")
        if not typer.confirm("Approve this command?", default=False, err=True):
            return False
    try:
        approvals.approve(kind, words)
    except OSError as error:
        _say(f"The approval counts this once: it could not be kept, {error.strerror or error}.")
    return True


def _say(line: str) -> None:
    typer.echo(safe_text(line), err=True)


def watch(
    paths: Paths,
    session_path: SessionOption,
    recipe: RecipeOption = None,
    roots: RootsOption = None,
    device: DeviceOption = None,
    who: AsOption = None,
    images: ImagesOption = None,
    theme: ThemeOption = None,
    alarm_command: AlarmOption = None,
    approve_commands: ApproveOption = False,
    screen: Annotated[bool, typer.Option(help="Open a screen; without it the engine just works on.")] = True,
) -> None:
    """Watch files as they come in, triage them, and show them; the engine goes on when the screen is closed.

    Where the session's engine is at work already, this opens a screen on it. An alarm command that the recipe names is
    run only after you approved it.
    """
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.engine.process import ending_of, engine_is_running, start_engine
    from photon_triage.core.session.store.alarms import command_words

    if screen:
        require_screen("To triage without a screen: --no-screen.")
    require_paths(paths)
    display = chosen_display(images, theme)
    command = command_words(alarm_command) if alarm_command else ()
    session = open_session(session_path, recipe, roots)
    if engine_is_running(session):
        say(f"The engine of {session.path} is at work already and goes on with the paths it was given.")
    else:
        command = command or approved_alarm_command(session, approve=approve_commands)
        engine = start_engine(session, paths, device=device, alarm_command=command)
        if reason := ending_of(session, engine):
            raise SessionError(
                f"Could not watch with {session.path}: {reason}.",
                f"The engine's log: {session.log_path}.",
                title="Engine failed",
            )
        command = ()  # the engine runs it, whether a screen is open or not
    if screen:
        _open_screen(session.path, who, display, alarm_command=command)


def attach(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    who: AsOption = None,
    images: ImagesOption = None,
    theme: ThemeOption = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look only: nothing can be decided.")] = False,
    alarm_command: AlarmOption = None,
) -> None:
    """Open a screen on a session; its engine, if one is at work, is left as it is.

    An alarm command given here is run by this screen, as long as it is open.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.alarms import command_words

    require_screen()
    command = command_words(alarm_command) if alarm_command else ()
    path = Session.open(session_path).path
    _open_screen(path, who, chosen_display(images, theme), read_only=read_only, alarm_command=command)


def _open_screen(
    path: Path, who: str | None, display: Display, *, read_only: bool = False, alarm_command: Sequence[str] = ()
) -> None:
    from photon_triage.tui.app import run_screen

    code = run_screen(path, who, display, read_only=read_only, alarm_command=alarm_command)
    say(f"The engine keeps running if it was. Back to the screen: photon-triage attach {path}")
    if code:
        raise typer.Exit(code)


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
