"""`photon-triage report`: what a session came to, as one HTML page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json

if TYPE_CHECKING:
    from photon_triage.core.report.report_content import Report
    from photon_triage.core.report.report_page import ReportPicture


def report(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write.")] = Path(
        "report.html"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a page with hit rates, curves, sizes, contact sheets of accepted and doubtful frames, models and exports.

    It is one file that opens without a network. The session may still be at work; the frames on the contact sheets are
    read from their files again.
    """
    from photon_triage.core.common.atomic import atomic_file
    from photon_triage.core.report.figures import figures
    from photon_triage.core.report.report_content import gather
    from photon_triage.core.report.report_page import page
    from photon_triage.core.session.session import Session

    content = gather(Session.open(session_path))
    total = len({shown.row.id for shown in (*content.accepted, *content.doubtful)})
    with progress_bar("frames", total, quiet=as_json) as advance:
        pictures = _pictures(content, advance)
    text = page(content, figures(content), pictures)
    path = output.expanduser().absolute()
    with atomic_file(path) as file:
        file.write(text.encode("utf-8"))
    missing = sum(not picture.png for picture in pictures.values())
    if as_json:
        say_json(
            {
                "path": str(path),
                "bytes": len(text.encode("utf-8")),
                "accepted_shown": len(content.accepted),
                "doubtful_shown": len(content.doubtful),
                "pictures_missing": missing,
                "simulated": content.counts.simulated,
            }
        )
        return
    say(f"Wrote {path}.")
    if missing:
        say(f"{missing} of {total} frames could not be read again; the page says why.")


def _pictures(content: Report, advance: Callable[..., None]) -> dict[int, ReportPicture]:
    """The pictures of the contact sheets by frame, read in a process of their own."""
    from photon_triage.core.common.errors import TriageError
    from photon_triage.core.frames import Box
    from photon_triage.core.report.figures import thumbnail
    from photon_triage.core.report.report_page import ReportPicture
    from photon_triage.core.session.store.preview import Previewer

    recipe = content.recipe
    peaks = any(stage.kind == "spots" for stage in recipe.stages)
    made: dict[int, ReportPicture] = {}
    previewer, reader = Previewer(recipe), content.session.results()
    try:
        for row in {shown.row.id: shown.row for shown in (*content.accepted, *content.doubtful)}.values():
            boxes = [detection.box for detection in reader.detections(row.frame_id)[:1]]
            if row.key.point:
                x, y = row.key.point
                boxes = [Box(x - 12, y - 12, 24, 24)]
            try:
                preview = previewer.load(row.key)
                made[row.id] = ReportPicture(thumbnail(preview, boxes, log=not recipe.reads_images, peaks=peaks))
            except (TriageError, OSError, ValueError) as error:
                made[row.id] = ReportPicture(problem=str(error))
            advance(len(made))
    finally:
        reader.close()
        previewer.close()
    return made
