"""`photon-triage powder`: what all hits and all misses look like together, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.output import say, say_json


def powder(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="An .h5 or a .tif to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the virtual powder: mean and maximum of all hits and of all misses, and the difference of the means."""
    from photon_triage.core.export.powder_files import export_powder
    from photon_triage.core.session.session import Session

    made = export_powder(Session.open(session_path), output)
    if as_json:
        height, width = made.valid.shape
        say_json({"hits": made.hits.n, "misses": made.misses.n, "height": height, "width": width, "path": str(output)})
        return
    say(f"{made.hits.n:,} hits and {made.misses.n:,} misses in {output}")
