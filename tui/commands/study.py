"""`photon-triage study`: published comparisons, made again on simulated data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from photon_triage.core.common.errors import TrainingError
from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table
from photon_triage.tui.commands.session import DeviceOption

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

MEASURES = ("iou", "accuracy", "precision", "recall", "f1")
HEAD = ("", "parameters", "selected", "intersection", "IoU", "accuracy", "precision", "recall", "F1 (95 %)", "hours")


@app.callback()
def study() -> None:
    """Make published comparisons again, on simulated data."""


@app.command("spi")
def study_spi(
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where everything is kept; the study goes on there.")
    ] = Path("study-spi"),
    size: Annotated[
        Literal["full", "small", "quick"] | None,
        typer.Option(help="full: as published, for a GPU. small: small networks, for a processor. quick: a trial."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The same as --size quick.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the beamtime, of what is labelled, and of the networks.")] = 1,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Single hits of single particles: YOLOv2 and v3, colour and grey, linear and log, labels of all or the first runs.

    Ten networks are trained from random weights on as many labels as the published ones (165 single hits and 390
    others), on a simulated beamtime of eight runs. The frames that all of the last five checkpoints select are held
    against the truth of other frames. Without --size it is full on a GPU and small otherwise.
    """
    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.study.data import SIZES
    from photon_triage.core.study.study import run_study
    from photon_triage.models.inference.precision import best_device

    lower_priority()
    chosen = best_device(device)
    name = "quick" if quick else size or ("full" if chosen.type == "cuda" else "small")
    with progress_bar("study", None, quiet=quiet or as_json) as advance:
        try:
            report = run_study(
                out.expanduser().absolute(), SIZES[name], seed, chosen,
                lambda what, done, planned, remark: advance(done, total=planned, note=f"{what}  {remark}"),
            )  # fmt: skip
        except KeyboardInterrupt:
            raise TrainingError(
                "The study was interrupted.",
                f"Give the same command again: it goes on where it was, in {out}.",
                title="Interrupted",
            ) from None
    if as_json:
        say_json(report)
    else:
        _say(report)


def _say(report: dict[str, Any]) -> None:
    data, size, variants = report["data"], report["size"], report["variants"]
    say(
        f"Simulated data, seed {data['seed']}: trained on {data['training']} frames, thresholds from "
        f"{data['validation']}, tested on n = {data['test']} with {data['test_positive']} single hits."
    )
    if size["name"] != "full":
        height, width = size["shape"]
        say(
            f"Size {size['name']}: networks on {height} x {width} pixels with filters divided by {size['divisor']} "
            f"(but hitnet), {size['iterations']} batches of {size['batch']}. The published ones need a GPU."
        )
    last = size["last"]
    for selection, title in (
        ("intersection", f"What all of the last {last} checkpoints select:"),
        ("best checkpoint", "What the best checkpoint selects:"),
        ("union", f"What any of the last {last} checkpoints selects:"),
    ):
        say()
        say(title)
        rows = [(each["name"], each["parameters"], each["selections"][selection], each["hours"]) for each in variants]
        reference = report["reference"]
        lines = [HEAD, *(_cells(*row) for row in rows)]
        if selection == "intersection":
            lines += _reference_rows(reference)
        say_table(lines)
    devices = ", ".join(sorted({each["device"] for each in variants}))
    hours = sum(each["hours"] for each in variants)
    say()
    cores = sum(each["processor_hours"] for each in variants)
    say(f"Trained on {devices} in {hours:.2f} hours ({cores:.2f} of one core).")


def _cells(name: str, parameters: int | None, row: dict[str, Any], hours: float | None) -> tuple[str, ...]:
    shown = ["-" if row[measure] is None else f"{row[measure]:.3f}" for measure in MEASURES]
    low, high = row["f1_interval"]
    return (
        name, "-" if parameters is None else f"{parameters:,}", str(row["selected"]), str(row["intersection"]),
        *shown[:-1], f"{shown[-1]} ({low:.3f} to {high:.3f})", "-" if hours is None else f"{hours:.2f}",
    )  # fmt: skip


def _reference_rows(reference: dict[str, Any]) -> list[tuple[str, ...]]:
    if not reference["installed"]:
        return [("EM reference", f"not installed: {reference['hint']}", *[""] * (len(HEAD) - 2))]
    return [
        _cells(f"EM reference, classes {how}", None, row, reference["hours"])
        for how, row in reference["selections"].items()
    ]
