"""Command `session`: the files of a session, their states, and repair."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.rows import Counts
from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table

MOST_LINES = 20
"""Reasons of one state, or notes, that are printed."""

Paths = Annotated[
    list[Path], typer.Argument(metavar="PATH...", help="Folders, files or patterns such as '/data/run_*'.")
]
SessionOption = Annotated[
    Path, typer.Option("--session", "-s", metavar="DIR", help="Directory of the session; made if it is not there.")
]
RecipeOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="A shipped recipe or a TOML file; see `photon-triage recipes`.")
]
RootsOption = Annotated[
    list[Path] | None,
    typer.Option("--root", metavar="FOLDER", help="A folder, beside a file's own, to which its links may lead."),
]
AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Who decides, where several share an account; it, if not given."),
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...; the fastest there is, if not given.")]
app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
STATES = ("waiting", "reading", "complete", "missing", "unreadable")
SessionPath = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_session(path: Path, recipe: str | None, roots: Sequence[Path] | None = None) -> Session:
    """The session in a directory, made with the recipe where there is none yet.

    roots: what the recipe of a new session allows links to lead to, beside a file's own folder.
    """
    from photon_triage.core.common.errors import UsageError
    from photon_triage.core.recipe import recipe_text, shipped_recipes, with_roots
    from photon_triage.core.session.session import Session

    if recipe is not None:
        text = recipe_text(recipe)
        return Session.create(path, with_roots(text, roots) if roots else text, recipe)
    if roots:
        raise UsageError(
            f"Could not allow {roots[0]} in the session {path}: a session keeps the recipe that it was begun with.",
            "Give --root together with --recipe when a session begins.",
        )
    if not Session(path.expanduser().resolve()).recipe_path.exists():
        raise UsageError(
            f"Could not begin the session {path}: no recipe was given.",
            f"Add --recipe with one of {', '.join(shipped_recipes())}, or the path of a TOML file.",
        )
    return Session.open(path)


def require_paths(paths: list[Path]) -> None:
    """Raise UsageError for a path that is not there; a pattern may match nothing yet."""
    from photon_triage.core.common.errors import UsageError

    for path in paths:
        if not path.expanduser().exists() and not any(sign in str(path) for sign in "*?["):
            raise UsageError(f"Could not watch {path}: there is no such file or folder.", "Check the path, or make it.")


def count_frames(session: Session) -> Counts:
    """How many files and frames the session's ledger holds; none before its first engine has run."""
    from photon_triage.core.session.store.rows import Counts

    if not session.results_path.exists():
        return Counts()
    reader = session.results()
    try:
        return reader.counts()
    finally:
        reader.close()


def summary(session: Session) -> dict[str, Any]:
    """What a session counted, for people and for --json."""
    reader = session.results()
    try:
        counts, files, state = reader.counts(), reader.files(), reader.state()
        threshold = session.threshold()
        selected = reader.listing(session.recipe().unit).selected_count(threshold)
    finally:
        reader.close()
    return {
        "session": str(session.path),
        "recipe": session.recipe().name,
        "files": counts.files,
        "frames": counts.frames,
        "hits": counts.hits,
        "misses": counts.frames - counts.hits,
        "candidates": counts.candidates,
        "selected": selected,
        "threshold": threshold,
        "pending": counts.pending,
        "dropped": counts.dropped,
        "unreadable": counts.unreadable,
        "missing": counts.missing,
        "simulated": counts.simulated,
        **{
            f"{status}_files": [{"file": row.path, "reason": row.reason} for row in files if row.status == status]
            for status in ("unreadable", "missing", "waiting")
        },
        "noted": counts.noted,
        "notes": [{"file": row.path, "text": note} for row in files for note in row.notes],
        "ignored": dict(state.ignored),
    }


def summary_lines(session: Session) -> list[tuple[str, str]]:
    """Reasons and notes of a session's files, (kind, text), alike ones in one line."""
    from photon_triage.core.session.store.file_notes import group_notes, group_reasons, ignored_note

    reader = session.results()
    try:
        files, ignored = reader.files(), ignored_note(reader.state().ignored)
    finally:
        reader.close()
    lines = []
    groups = {status: group_reasons(files, status) for status in ("unreadable", "missing", "waiting")}
    groups["note"] = group_notes(files)
    for kind, found in groups.items():
        lines += [(kind, str(group)) for group in found[:MOST_LINES]]
        if more := len(found) - MOST_LINES if len(found) > MOST_LINES else 0:
            lines.append((kind, f"{more} more: photon-triage session files {session.path}"))
    return [*lines, *([("note", ignored)] if ignored else [])]


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
