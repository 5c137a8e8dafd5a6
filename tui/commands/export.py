"""`photon-triage export`: lists for the next program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from photon_triage.core.export.formats import FORMATS
from photon_triage.tui.commands.output import say, say_json, say_table


class SelectionName(StrEnum):
    """Which frames a list holds."""

    accepted = "accepted"
    predicted = "predicted"
    both = "both"
    all = "all"


def _print_formats(wanted: bool) -> None:
    if wanted:
        say_table([("format", "lists", "is"), *((each.name, each.lists, each.title) for each in FORMATS.values())])
        raise typer.Exit


def _known_format(name: str) -> str:
    if name not in FORMATS:
        raise typer.BadParameter(f"{name!a} is no format; --formats lists them: {', '.join(FORMATS)}.")
    return name


def export(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    list_format: Annotated[
        str,
        typer.Option("--format", parser=_known_format, metavar="FORMAT", help=f"One of {', '.join(FORMATS)}."),
    ],
    select: Annotated[
        SelectionName,
        typer.Option(
            help="accepted; predicted: score at the threshold or above; both: either, but nothing rejected; all: "
            "everything that was read, whatever its score."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The list to write, or a folder where a format has a list for each input file; a .json is written "
            "beside it.",
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a frame is selected; the operator's, else the recipe's."),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Write the list although frames are still unread.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="spi-cxi: copy the frames; else the file points to where they are.")
    ] = False,
    box_size: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pixels a side of the box about a candidate; the recipe's min_distance, if not given."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    _formats: Annotated[
        bool, typer.Option("--formats", callback=_print_formats, is_eager=True, help="List the formats.")
    ] = False,
) -> None:
    """Write the selected frames or candidates as a list, and beside it a .json that says where it comes from."""
    from photon_triage.core.export.export import export as write_list
    from photon_triage.core.export.list_content import Options
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    if threshold is None:
        threshold = session.threshold()
    options = Options(copy=copy, box_size=box_size)
    done = write_list(session, list_format, select.value, threshold, output, incomplete, options=options)
    changed = {"labels_of_changed_frames": done.changed} if done.changed else {}
    if as_json:
        say_json({"path": str(done.path), "manifest": str(done.manifest_path), "written": done.written} | changed)
        return
    unit = session.recipe().unit if FORMATS[list_format].lists != "frames" else "frames"
    say(f"Wrote {done.written} {unit} to {done.path}, and {done.manifest_path.name} beside it.")
    if done.changed:
        say(f"{done.changed} labels are of frames that have changed since, and did not count: decide those again.")
