"""`photon-triage retry`: files that were given up are tried again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.rows import FileRow


def retry(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files to try again; all that were given up.")
    ] = None,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover",
            help="Copy HDF5 files that a dead writer left marked as open into the session, without the mark.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Try files again that were unreadable or missed something: by the engine at work, or by the next one.

    Frames that are recorded stay as they are. With --recover the files themselves are not touched either. Ends with 1
    when a file could not be recovered.
    """
    from photon_triage.core.engine.process import engine_is_running
    from photon_triage.core.session.decisions.commands import ask_to_retry
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    rows = _given_up(session, files or [])
    recovered, refused = _recover(session, rows, quiet=as_json) if recover else ({}, {})
    again = [row.path for row in rows if row.path not in recovered]
    if rows:
        journal = session.journal()
        ask_to_retry(journal, [row.path for row in rows] if files else ())
        journal.close()
    running = engine_is_running(session)
    if as_json:
        say_json({"tried_again": again, "recovered": recovered, "not_recovered": refused, "engine_at_work": running})
    else:
        for path, copy in recovered.items():
            say(f"recovered: {path} as {copy}")
        for path, reason in refused.items():
            say(f"not recovered: {path}: {reason}")
        if not rows:
            say("No file was given up: there is nothing to try again.")
        elif running:
            say(f"{len(again)} files are tried again, {len(recovered)} read from copies, by the engine at work.")
        else:
            say(f"{len(again)} files are tried again, {len(recovered)} read from copies, by the next engine:")
            say(f"photon-triage watch|scan PATH --session {session.path}")
    if refused:
        raise typer.Exit(1)


def _given_up(session: Session, files: list[Path]) -> list[FileRow]:
    """The files that were given up: all, or those that were named; UsageError for one that was not."""
    from photon_triage.core.common.errors import UsageError

    reader = session.results()
    try:
        known = {row.path: row for row in reader.files()}
    finally:
        reader.close()
    given_up = {path: row for path, row in known.items() if row.status.is_incomplete}
    if not files:
        return list(given_up.values())
    named = []
    for file in files:
        path = os.path.realpath(file.expanduser())
        if path not in given_up:
            state = f"it is {known[path].status}" if path in known else "no engine of this session has seen it"
            raise UsageError(
                f"Could not try {file} again: {state}.",
                f"photon-triage session files {session.path} --status missing --status unreadable",
            )
        named.append(given_up[path])
    return named


def _recover(session: Session, rows: list[FileRow], *, quiet: bool) -> tuple[dict[str, str], dict[str, str]]:
    """(copies by file, reasons by file that was not recovered)."""
    from photon_triage.core.common.errors import SourceError
    from photon_triage.core.engine.recovery import recover

    recovered, refused = {}, {}
    for row in rows:
        with progress_bar(Path(row.path).name, row.size, quiet=quiet) as advance:
            try:
                recovered[row.path] = str(recover(Path(row.path), session.recovered_path, advance))
            except SourceError as error:
                refused[row.path] = str(error)
    return recovered, refused
