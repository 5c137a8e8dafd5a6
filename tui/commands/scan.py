"""`photon-triage scan`: triage files that are there, without a screen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from photon_triage.tui.commands.engine import ApproveOption, approved_alarm_command
from photon_triage.tui.commands.output import progress_bar, say, say_json
from photon_triage.tui.commands.session import (
    DeviceOption,
    Paths,
    RecipeOption,
    RootsOption,
    SessionOption,
    count_frames,
    open_session,
    require_paths,
    summary,
    summary_lines,
)

LOOK_S = 0.2


def scan(
    paths: Paths,
    session_path: SessionOption,
    recipe: RecipeOption = None,
    roots: RootsOption = None,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds without a change after which an incomplete file is given up.")
    ] = 15.0,
    device: DeviceOption = None,
    approve_commands: ApproveOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar and no summary.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Run a recipe over files and end when they are done; a second scan goes on where the first one ended.

    It ends when all is done: nothing more comes, or has come for as long as --patience. Ends with 1 when a file could
    not be read or misses something; the others are done all the same.
    """
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.engine.process import ending_of, start_engine, stop_engine

    require_paths(paths)
    session = open_session(session_path, recipe, roots)
    command = approved_alarm_command(session, approve=approve_commands)
    engine = start_engine(session, paths, once=True, patience=patience, device=device, alarm_command=command)
    began_work = False
    with progress_bar("scanning", None, quiet=quiet or as_json) as advance:
        try:
            while True:
                ended = engine.poll() is not None
                began_work = began_work or session.engine_state().pid == engine.pid
                if began_work:
                    counts = count_frames(session)
                    advance(counts.frames, total=counts.frames + counts.pending or None, note=f"{counts.hits} hits")
                if ended:
                    break
                time.sleep(LOOK_S)
        except KeyboardInterrupt:
            stop_engine(session)
            raise SessionError(
                f"The scan of {session.path} was interrupted; what it had done is kept.",
                "The same command goes on where it was.",
                title="Interrupted",
            ) from None
    if reason := ending_of(session, engine):
        raise SessionError(
            f"The scan of {session.path} failed: {reason}.",
            f"What was recorded is kept, and the same command continues. The engine's log: {session.log_path}.",
            title="Engine failed",
        )
    state = session.engine_state()
    seconds = state.heartbeat - (state.working_since or state.started)
    report = summary(session)
    report |= {"seconds": seconds, "frames_per_second": state.scored / seconds if seconds > 0 else None}
    if as_json:
        say_json(report)
    elif not quiet:
        _say(report, summary_lines(session))
    if report["unreadable"] or report["missing"]:
        raise typer.Exit(1)


def _say(counts: dict[str, Any], lines: Sequence[tuple[str, str]]) -> None:
    if counts["simulated"]:
        say("Simulated data.")
    found = f"{counts['candidates']} candidates, " if counts["candidates"] else ""
    say(
        f"{counts['frames']} frames of {counts['files']} files: {counts['hits']} hits, {counts['misses']} misses; "
        f"{found}{counts['selected']} selected at threshold {counts['threshold']:g}."
    )
    if counts["dropped"]:
        say(f"{counts['dropped']} frames could not be read.")
    for kind, text in lines:
        say(f"{kind}: {text}")
