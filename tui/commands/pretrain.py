"""`photon-triage pretrain`: from frames without labels to weights that a training begins from."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from photon_triage.tui.commands.output import say, say_json
from photon_triage.tui.commands.session import DeviceOption
from photon_triage.tui.commands.training_report import shown_training
from photon_triage.tui.resumption import approve_begun


def pretrain(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    model: Annotated[str, typer.Option(metavar="NETWORK", help="A shipped cfg, or a Darknet cfg file.")] = "hitnet",
    init: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Begin with a model's weights, or a .weights file; random.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new model; pretrained, if not given.")] = None,
    iterations: Annotated[int, typer.Option(min=1, help="Batches.")] = 400,
    batch: Annotated[int, typer.Option(min=2, help="Frames in a batch, two views each.")] = 64,
    most: Annotated[
        int, typer.Option(min=16, help="Frames to learn from, spread over all; they are held in memory.")
    ] = 4096,
    augment: Annotated[
        str, typer.Option(metavar="NAMES", help="How views differ, as for train: all, or names with commas.")
    ] = "all",
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.")] = 0,
    anew: Annotated[bool, typer.Option("--anew", help="Begin anew, also where it was interrupted.")] = False,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Pre-train a network on frames without labels: two views of a frame are to look alike to it (SimCLR).

    The new model detects nothing yet: `photon-triage train SESSION --init NAME --model NETWORK` begins with it. Frames
    of the audit, and those next to them, are left out. It runs at low priority beside the engine; after an
    interruption the same command goes on where it was.
    """
    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.data.augment import checked_augmentations
    from photon_triage.core.training.tasks.detector.pretraining import PretrainingJob, run_pretraining

    lower_priority()
    approve_begun(sys.argv[1:])
    job = PretrainingJob(
        Session.open(session_path), model, init, name, iterations, batch, most, checked_augmentations(augment), seed,
        device, "photon-triage " + shlex.join(sys.argv[1:]), anew,
    )  # fmt: skip
    with shown_training(
        "pre-training",
        "The pre-training was interrupted; no model was written yet.",
        "Give the same command again: it goes on where it was. With --anew it begins anew.",
        quiet=quiet or as_json,
    ) as told:
        trained = run_pretraining(job, told)
    facts = trained.report()
    if as_json:
        say_json(facts)
        return
    say(
        f"{facts['name']}: {facts['iterations']} batches of {facts['batch']} from {facts['frames']} frames without a "
        f"label; loss {facts['loss']:.3f}, by chance {facts['chance']:.3f}."
    )
    say(f"Begin with it: photon-triage train {shlex.quote(str(session_path))} --model {model} --init {facts['name']}")
