"""`photon-triage watch` and `attach`: an engine at work, and a screen on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.approval import ApproveOption, approved_alarm_command
from photon_triage.tui.commands.output import say
from photon_triage.tui.commands.sessions import (
    AsOption,
    DeviceOption,
    Paths,
    RecipeOption,
    RootsOption,
    SessionOption,
    open_session,
    require_paths,
)
from photon_triage.tui.terminal.display import Display, ImagesOption, ThemeOption, chosen_display
from photon_triage.tui.terminal.terminal import require_screen

AlarmOption = Annotated[
    str | None,
    typer.Option(
        "--alarm-command",
        metavar="CMD",
        help="Run this in your home folder for each alarm, its text as the last word.",
    ),
]


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
