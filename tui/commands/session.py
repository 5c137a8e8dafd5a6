"""`photon-triage session`: the files of a session and their states, and its repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

STATES = ("waiting", "reading", "complete", "missing", "unreadable")

SessionPath = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def files(
    session_path: SessionPath,
    status: Annotated[list[str] | None, typer.Option(help=f"Only files that are {', '.join(STATES)}.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the files with their states: what is waited for, what is missing, why one cannot be read, and notes."""
    from photon_triage.core.common.errors import UsageError
    from photon_triage.core.session.session import Session

    if unknown := set(status or ()) - set(STATES):
        raise UsageError(f"There are no files that are {', '.join(sorted(unknown))}.", f"States: {', '.join(STATES)}.")
    reader = Session.open(session_path).results()
    try:
        rows = [row for row in reader.files() if not status or row.status in status]
    finally:
        reader.close()
    if as_json:
        names = ("path", "status", "reason", "frames", "done", "run", "layout", "dataset", "simulated", "notes")
        say_json([{name: getattr(row, name) for name in names} for row in rows])
    elif rows:
        say_table(
            line
            for row in rows
            for line in (
                (row.status, f"{row.done}/{row.frames}", row.path, row.reason),
                *(("", "", row.path, f"note: {note}") for note in row.notes),
            )
        )


@app.command()
def repair(session_path: SessionPath, as_json: JsonOption = False) -> None:
    """Check results.db and the journals; make results.db again where it is damaged, and keep the damaged one.

    What can be read of it and can be right is taken over, the other frames are read again by the next engine. Labels
    are in the journals: lines of these that cannot be believed are moved to a file of their own. Ends with 1 when
    something was damaged.
    """
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.engine.process import engine_is_running
    from photon_triage.core.session.decisions.journal_repair import blank_damaged
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store import repair as repairing

    session = Session.open(session_path)
    book = session.labels(follow_moves=False)
    trouble = repairing.problem(session.results_path) if session.results_path.exists() else ""
    report: dict[str, object] = {"damaged_journal_lines": book.damaged, "problem": trouble}
    if trouble:
        if engine_is_running(session):
            raise SessionError(
                f"Could not repair {session.path}: its engine is at work.",
                f"Stop it first: photon-triage engine stop {session.path}",
            )
        with progress_bar("saving frames", None, quiet=as_json) as advance:
            done = repairing.repair(session.results_path, advance)
        report |= {
            "files": done.files,
            "frames": done.frames,
            "to_read_again": done.to_read_again,
            "set_aside": str(done.set_aside),
        }
    blanked = blank_damaged(session.journal_path, book.malformed) if book.damaged else None
    if blanked is not None and blanked.set_aside is not None:
        report["journal_lines_set_aside"] = str(blanked.set_aside)
    if as_json:
        say_json(report)
    elif trouble:
        say(f"results.db was damaged: {trouble}.")
        say(f"Saved: {report['frames']} frames of {report['files']} files. The damaged one is {report['set_aside']}.")
        say(f"The next engine reads {report['to_read_again']} frames again, and files that are not known any more.")
    else:
        say("results.db is sound." if session.results_path.exists() else "There is no results.db yet.")
    if blanked is not None and not as_json:
        if blanked.set_aside is not None:
            say(f"{blanked.lines} damaged lines of the journals were moved to {blanked.set_aside}; all others count.")
        if blanked.not_writable:
            say(f"{blanked.not_writable} damaged lines are in journals of others: who wrote them can repair them.")
    if trouble or book.damaged:
        raise typer.Exit(1)
