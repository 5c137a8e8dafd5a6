"""Commands `compare` and `em`: lists from other programs, and EM classes, against a session's labels and each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.core.common.errors import SessionError, UsageError
from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table
from photon_triage.tui.commands.session import DeviceOption

if TYPE_CHECKING:
    from photon_triage.core.compare import ComparisonTable, LoadedList
    from photon_triage.core.metrics import Confusion, Estimate

HEAD = ("intersection", "IoU", "accuracy", "precision", "recall", "n")


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

    from photon_triage.core.common.worker_process import lower_priority
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


def compare(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    lists: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="LIST...", help="CrystFEL lists, indices, 0/1 vectors, CSV tables, Cheetah's lists, other sessions."
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Score from which the session selects a frame; the operator's, if not given."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option(metavar="OUTPUT", help="Export the frames that all the lists have in common.")
    ] = None,
    list_format: Annotated[str, typer.Option("--format", help="Of what --write writes; see export.")] = "crystfel",
    incomplete: Annotated[bool, typer.Option("--incomplete", help="Write although frames are still unread.")] = False,
    em: Annotated[
        bool, typer.Option("--em", help="Also the classes of `photon-triage em`: chosen by labels, and by an oracle.")
    ] = False,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Also the last checkpoints of that training: each, all of them, any of them."
        ),
    ] = None,
    last: Annotated[int, typer.Option(min=1, metavar="K", help="So many checkpoints.")] = 5,
    union: Annotated[
        bool, typer.Option("--union", help="With --write: what any of the checkpoints selects, not what all do.")
    ] = False,
    device: DeviceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """How selections agree with the labels and with each other: intersection, IoU, accuracy, precision, recall.

    Against labels, n counts labelled frames; between two lists every frame that was read, the second list taken for
    the truth.
    """
    from photon_triage.core.compare import KnownFrames, load_list
    from photon_triage.core.compare import compare as hold
    from photon_triage.core.session.session import Session

    session, lists = Session.open(session_path), lists or []
    if not lists and not em and checkpoints is None:
        raise UsageError("Could not compare: there is no list.", "Name one, or give --em or --checkpoints.")
    if write is not None and em:
        raise UsageError("Could not write what is common: --em is no list of its own.", "Give --write without --em.")
    known = KnownFrames.of(session, threshold)
    loaded = [load_list(path, known) for path in lists]
    if em:
        from photon_triage.core.compare.em import em_lists

        loaded += em_lists(session)[0]
    members: list[LoadedList] = []
    common = None
    if checkpoints is not None:
        from photon_triage.core.compare.checkpoint_scores import checkpoint_lists

        cut = session.threshold() if threshold is None else threshold
        with progress_bar("scoring", None, quiet=as_json) as advance:
            *members, every, any_of_them = checkpoint_lists(
                session, checkpoints, last, cut, device, lambda done, planned: advance(done, total=planned)
            )
        common = frozenset.intersection(*(each.keys for each in (*loaded, any_of_them if union else every)))
        loaded += [every, any_of_them]
    compared = hold(known, loaded, members)
    written: dict[str, Any] = {}
    if write is not None:
        from photon_triage.core.export import export

        chosen = session.threshold() if threshold is None else threshold
        done = export(
            session, list_format, "all", chosen, write, incomplete,
            only=compared.common if common is None else common,
            origin={"common_to": _origin(lists, checkpoints, last, union)},
        )  # fmt: skip
        written = {"path": str(done.path), "manifest": str(done.manifest_path), "written": done.written}
    if as_json:
        say_json(_report(compared) | ({"common": written} if written else {}))
        return
    _say(compared)
    if written:
        say(f"Wrote {written['written']} frames to {written['path']}, and a .json beside it.")


def _origin(lists: list[Path], checkpoints: str | None, last: int, union: bool) -> list[str]:
    found = [str(path.expanduser().absolute()) for path in lists]
    return found + (
        [f"{'union' if union else 'intersection'} of the last {last} of {checkpoints}"] if checkpoints else []
    )


def _report(compared: ComparisonTable) -> dict[str, Any]:
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


def _say(compared: ComparisonTable) -> None:
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
            total = each.selected + each.unmatched
            say(f"{each.unmatched} of {total} entries of {each.name} are of frames that this session has not read.")


def _cells(confusion: Confusion) -> tuple[str, ...]:
    values = (estimate.value for estimate in _estimates(confusion).values())
    return (str(confusion.tp), *("-" if value is None else f"{value:.3f}" for value in values), str(confusion.n))


def _short(name: str) -> str:
    return Path(name).name if name.startswith("/") else name
