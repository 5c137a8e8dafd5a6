"""`photon-triage export`: lists for the next program."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.output import say, say_json


class ListFormat(StrEnum):
    """The formats a list can have."""

    crystfel = "crystfel"
    csv = "csv"


class Selected(StrEnum):
    """Which frames a list holds."""

    accepted = "accepted"
    predicted = "predicted"
    both = "both"


def export(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    list_format: Annotated[
        ListFormat, typer.Option("--format", help="CrystFEL's event list, or a table of every frame.")
    ],
    select: Annotated[
        Selected,
        typer.Option(help="accepted; predicted: score at the threshold or above; both: either, but nothing rejected."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The list to write; a .json is written beside it.")],
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which a frame is selected; the operator's, else the recipe's."),
    ] = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Write the list although frames are still unread.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the selected frames as a list, and beside it a .json that says where it comes from."""
    from photon_triage.core.export import export as write_list
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    if threshold is None:
        threshold = session.threshold()
    done = write_list(session, list_format.value, select.value, threshold, output, incomplete)
    if as_json:
        say_json({"path": str(done.path), "manifest": str(done.manifest_path), "written": done.written})
        return
    say(f"Wrote {done.written} frames to {done.path}, and {done.manifest_path.name} beside it.")
