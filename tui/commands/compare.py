"""`photon-triage compare`: lists from elsewhere against a session's labels and against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table

if TYPE_CHECKING:
    from photon_triage.core.compare import Compared
    from photon_triage.core.metrics import Confusion, Estimate

HEAD = ("intersection", "IoU", "accuracy", "precision", "recall", "n")


def compare(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    lists: Annotated[
        list[Path],
        typer.Argument(
            metavar="LIST...", help="CrystFEL lists, indices, 0/1 vectors, CSV tables, Cheetah's lists, other sessions."
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which the session selects a frame; the operator's, if not given."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="OUTPUT", help="Export the frames that all the lists have in common.")
    ] = None,
    list_format: Annotated[str, typer.Option("--format", help="Of what --write writes; see export.")] = "crystfel",
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Write although frames are still unread.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How selections agree with the labels and with each other: intersection, IoU, accuracy, precision, recall.

    Against labels, n counts labelled frames; between two lists every frame that was read, the second list taken for
    the truth.
    """
    from photon_triage.core.compare import KnownFrames, load_list
    from photon_triage.core.compare import compare as hold
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    known = KnownFrames.of(session, threshold)
    compared = hold(known, [load_list(path, known) for path in lists])
    written: dict[str, Any] = {}
    if write is not None:
        from photon_triage.core.export import export

        chosen = session.threshold() if threshold is None else threshold
        done = export(
            session, list_format, "all", chosen, write, incomplete,
            only=compared.common, origin={"common_to": [str(path.expanduser().absolute()) for path in lists]},
        )  # fmt: skip
        written = {"path": str(done.path), "manifest": str(done.manifest_path), "written": done.written}
    if as_json:
        say_json(_report(compared) | ({"common": written} if written else {}))
        return
    _say(compared)
    if written:
        say(f"Wrote {written['written']} frames to {written['path']}, and a .json beside it.")


def _report(compared: Compared) -> dict[str, Any]:
    return {
        "frames": compared.frames,
        "lists": [
            {"name": each.name, "kind": each.kind, "selected": each.selected, "unmatched": each.unmatched}
            | _figures(each.confusion)
            for each in compared.lists
        ],
        "pairs": [{"first": pair.first, "second": pair.second} | _figures(pair.confusion) for pair in compared.pairs],
    }


def _figures(confusion: Confusion) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": confusion.n, "intersection": confusion.tp}
    for name, estimate in _estimates(confusion).items():
        figures |= {name: estimate.value, f"{name}_interval": [estimate.low, estimate.high]}
    return figures


def _estimates(confusion: Confusion) -> dict[str, Estimate]:
    return {
        "iou": confusion.iou,
        "accuracy": confusion.accuracy,
        "precision": confusion.precision,
        "recall": confusion.recall,
    }


def _say(compared: Compared) -> None:
    say(f"Against the labels, of {compared.frames} frames that were read:")
    say_table(
        [
            ("list", "selected", *HEAD),
            *((_short(each.name), str(each.selected), *_cells(each.confusion)) for each in compared.lists),
        ]
    )
    if compared.pairs:
        say("Against each other, the second taken for the truth:")
        say_table(
            [
                ("first", "second", *HEAD),
                *((_short(pair.first), _short(pair.second), *_cells(pair.confusion)) for pair in compared.pairs),
            ]
        )
    for each in compared.lists:
        if each.unmatched:
            say(f"{each.unmatched} entries of {each.name} are of frames that this session has not read.")


def _cells(confusion: Confusion) -> tuple[str, ...]:
    values = (estimate.value for estimate in _estimates(confusion).values())
    return (str(confusion.tp), *("-" if value is None else f"{value:.3f}" for value in values), str(confusion.n))


def _short(name: str) -> str:
    return Path(name).name if name.startswith("/") else name
