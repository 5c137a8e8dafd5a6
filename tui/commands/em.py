"""`photon-triage em`: the EM-based reference, frames sorted into classes by spi_em_class."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.core.common.errors import SessionError, UsageError
from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table


def em(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    classes: Annotated[int, typer.Option(min=2, max=1000, help="Classes to sort into.")] = 20,
    rotations: Annotated[int, typer.Option(min=1, help="Rotations about the beam that are tried.")] = 72,
    iterations: Annotated[int, typer.Option(min=1, help="Iterations.")] = 15,
    q: Annotated[str, typer.Option(metavar="MIN:MAX", help="Radii to look at, in pixels from the beam.")] = "10:115",
    binning: Annotated[int, typer.Option(min=1, help="Pixels a side that are added up.")] = 3,
    most: Annotated[int, typer.Option(min=2, metavar="N", help="Frames to sort, spread over all.")] = 5000,
    linear: Annotated[bool, typer.Option("--linear", help="Counts as they are, in place of their logarithms.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the first patterns.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Sort the frames that reach the network into classes without labels, by expectation and maximisation.

    For comparison with the networks: a class is selected where more of its labelled frames are accepted than rejected;
    beside it stands what an oracle would select who knows all labels. `photon-triage compare SESSION --em` shows both
    among other selections. Needs `pip install "photon-triage[em]"`; no MPI. It runs at low priority on all cores, or on
    as many as OMP_NUM_THREADS says.
    """
    from dataclasses import asdict

    from photon_triage.core.common.priority import lower_priority
    from photon_triage.core.compare import KnownFrames
    from photon_triage.core.compare import compare as hold
    from photon_triage.core.compare.em import EmSettings, em_lists, save_sorted, sort_frames
    from photon_triage.core.session.session import Session

    lower_priority()
    session = Session.open(session_path)
    low, high = _radii(q)
    settings = EmSettings(classes, rotations, iterations, low, high, binning, True, not linear, most, seed)
    with progress_bar("sorting by EM", iterations, quiet=quiet or as_json) as advance:
        try:
            found = sort_frames(session, settings, lambda done, planned: advance(done, total=planned))
        except KeyboardInterrupt:
            raise SessionError("The classification was interrupted; nothing was kept.", title="Interrupted") from None
    path = save_sorted(session, found, settings)
    lists, rows = em_lists(session)
    held = hold(KnownFrames.of(session), lists).lists[1:3]
    if as_json:
        figures: dict[str, Any] = {
            each.name: {
                "selected": each.selected,
                "tp": each.confusion.tp,
                "fp": each.confusion.fp,
                "fn": each.confusion.fn,
            }
            | {name: getattr(each.confusion, name).value for name in ("precision", "recall", "f1", "iou")}
            for each in held
        }
        say_json(
            {"path": str(path), "frames": len(found.keys), "unreadable": found.unreadable, "settings": asdict(settings)}
            | {"mutual_information": found.mutual_information, "classes": [asdict(row) for row in rows]}
            | {"selections": figures}
        )
        return
    say(f"{len(found.keys)} frames in {len(rows)} classes: {path}")
    say_table(
        [
            ("class", "frames", "labelled", "accepted", "by labels", "by an oracle"),
            *(
                (
                    str(row.number),
                    str(row.frames),
                    str(row.labelled),
                    str(row.accepted),
                    *map(_mark, (row.by_labels, row.by_oracle)),
                )
                for row in rows
            ),
        ]
    )
    for each in held:
        told = ((name, getattr(each.confusion, name).value) for name in ("precision", "recall", "f1"))
        words = ", ".join(f"{name} {'-' if value is None else f'{value:.3f}'}" for name, value in told)
        say(f"{each.name}: {each.selected} frames, {words} (n = {each.confusion.n} labels)")


def _mark(chosen: bool) -> str:
    return "selected" if chosen else ""


def _radii(text: str) -> tuple[int, int]:
    low, _, high = text.partition(":")
    if not (low.isdecimal() and high.isdecimal() and int(low) < int(high)):
        raise UsageError(f"Could not use --q {text}.", "Expected MIN:MAX in pixels, as in 10:115.")
    return int(low), int(high)
