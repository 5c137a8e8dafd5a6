"""`photon-triage labels`: CSV tables in and out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.output import say, say_json
from photon_triage.tui.commands.session import DeviceOption
from photon_triage.tui.commands.training_report import say_representation

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SessionPath = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("import")
def import_labels(
    session_path: SessionPath,
    table: Annotated[Path, typer.Argument(metavar="FILE.csv", help="file,dataset,index,verdict,class,who,time")],
    who: Annotated[
        str | None,
        typer.Option("--as", "--who", metavar="NAME", help="Who made the labels that name nobody; you, if not given."),
    ] = None,
    first_index: Annotated[
        int, typer.Option(min=0, max=1, metavar="N", help="Index of a file's first frame in the table, 0 or 1.")
    ] = 0,
    override: Annotated[
        bool, typer.Option("--override", help="Let the table's labels count where newer decisions stand, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Take labels over into a session, with their names and times.

    Relative file names start at the table's own folder. A label that the session has already is skipped, and so is one
    that the table marks as changed: its frame is another one now. Where a frame has labels of different times the
    newest counts: an older table overrides no newer decision, unless --override is given. A table with a line that
    cannot be right is refused as a whole.
    """
    from photon_triage.core.session.decisions.journal import user_name
    from photon_triage.core.session.decisions.label_files import checked_frames, match_files, read_table
    from photon_triage.core.session.decisions.labels import LabelWriter
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    name = who or user_name()
    read = read_table(table, first_index)
    labels = [label if label.who else replace(label, who=name) for label in read.labels]
    files = []
    if session.results_path.exists():
        reader = session.results()
        files = reader.files()
        reader.close()
    labels = match_files(labels, files)
    notes = [*read.notes, *checked_frames(read, labels, files, first_index)]
    book = session.labels()
    fresh = [label for label in labels if not (book.counts(label) if override else book.holds(label))]
    journal = session.journal(name)
    try:
        LabelWriter(journal).take_over(fresh, override=override)
    finally:
        journal.close()
    book.refresh(complete=True)
    older = sum(not book.counts(label) for label in fresh)
    known = {(row.path, row.dataset) for row in files}
    elsewhere = sum((label.key.file, label.key.dataset) not in known for label in fresh)
    verdicts = Counter(label.verdict for label in fresh)
    if as_json:
        say_json(
            {
                "imported": len(fresh),
                "already_there": len(labels) - len(fresh),
                "of_changed_frames": read.changed,
                "older": older,
                "accepted": verdicts["accepted"],
                "rejected": verdicts["rejected"],
                "skipped": verdicts["skipped"],
                "of_unknown_files": elsewhere,
                "notes": notes,
            }
        )
        return
    counts = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("accepted", "rejected", "skipped"))
    say(f"Imported {len(fresh)} labels from {table}: {counts}.")
    if len(labels) > len(fresh):
        say(f"{len(labels) - len(fresh)} were in the session already.")
    if read.changed:
        say(f"{read.changed} were skipped: the table marks their frames as changed since.")
    if older:
        say(f"{older} are older than another label of the same frame and do not count; --override makes them count.")
    if elsewhere:
        say(f"{elsewhere} are of files that the engine has not seen yet; they count when it does.")
    for note in notes:
        say(note)


@app.command("export")
def export_labels(
    session_path: SessionPath,
    table: Annotated[Path, typer.Argument(metavar="FILE.csv", help="The table to write.")],
    as_json: AsJson = False,
) -> None:
    """Write the labels of a session as a table; of several labels of a frame, the last.

    Labels of frames that have changed since are written too, with "yes" in the column changed.
    """
    from photon_triage.core.session.decisions.label_files import write_labels
    from photon_triage.core.session.session import Session

    book = Session.open(session_path).labels()
    changed = len(book.changed)
    written = write_labels(table, sorted(book.labels.values(), key=attrgetter("key")), book.changed.values())
    if as_json:
        counts = {"written": written, "conflicts": len(book.conflicts), "of_changed_frames": changed}
        say_json({"path": str(table.absolute())} | counts)
        return
    say(f"Wrote {written} labels to {table}.")
    if changed:
        say(f"{changed} of them are of frames that have changed since, and are marked so.")
    if book.conflicts:
        say(f"On {len(book.conflicts)} frames people differ; the label that counts was written.")


@app.command("report")
def report_labels(session_path: SessionPath, device: DeviceOption = None, as_json: AsJson = False) -> None:
    """Say whether the labels stand for the beamtime: by what is recorded of frames, by runs, by the network's features.

    It tells what a training would learn from; `photon-triage train` says the same of what it has learned from.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.evaluation.representativeness import labels_report

    said = labels_report(Session.open(session_path), device).as_json()
    if as_json:
        say_json({"representation": said})
    else:
        say_representation(said)
