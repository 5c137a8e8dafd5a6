"""What watch, scan and demo share: a session made or opened, and what it counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.store.rows import Counts

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
