"""`photon-triage train`: from labels, or from images with masks or points, to a model with its scores."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.core.errors import TrainingError, UsageError
from photon_triage.tui.commands.options import parse_options
from photon_triage.tui.commands.output import progress_bar, say_json
from photon_triage.tui.commands.sessions import DeviceOption, RecipeOption, open_session
from photon_triage.tui.commands.training_report import say_report

if TYPE_CHECKING:
    from photon_triage.core.training.progress import Note
    from photon_triage.core.training.registering import Trained


def train(
    session_path: Annotated[
        Path, typer.Argument(metavar="SESSION", help="Session to train in; with --images made if it is not there.")
    ],
    network: Annotated[
        str | None, typer.Option(metavar="FAMILY", help="Begin a new network: msd, unet or lenet.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the new network, such as depth=30 or patch=50.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="TIFF, HDF5, PNG or .npy files, or folders of them."),
    ] = None,
    masks: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="A mask for every image, in the same sorted order of names."),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Points of objects, with columns file, index, verdict, x, y; for lenet."),
    ] = None,
    within: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Masks of where objects are searched for, such as membranes; for lenet."),
    ] = None,
    margin: Annotated[
        int | None,
        typer.Option(min=0, metavar="PIXELS", help="To widen those masks by; the recipe's."),
    ] = None,
    only: Annotated[str, typer.Option(metavar="A:B", help="Slice of the sorted images to use.")] = ":",
    classes: Annotated[
        str,
        typer.Option(metavar="NAMES", help="Of the masks' values in ascending order, such as background,membrane."),
    ] = "",
    void: Annotated[
        int | None,
        typer.Option(metavar="VALUE", help="Of pixels that are neither learned nor scored."),
    ] = None,
    normalise: Annotated[
        str,
        typer.Option(metavar="BY", help="Mean and deviation of the grey values: training or frame."),
    ] = "training",
    crop: Annotated[
        int | None,
        typer.Option(min=1, metavar="PIXELS", help="Side of the crops to train on; 256."),
    ] = None,
    recipe: RecipeOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the new model; made from the old one's, if not given.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="MODEL", help="Model to continue; the one in use.")] = None,
    from_cfg: Annotated[
        str | None, typer.Option(metavar="CFG", help="Begin with random weights: a shipped cfg or a Darknet cfg file.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Batches; what the network needs.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate; what the network needs.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops or patches in a batch.")] = None,
    validate: Annotated[
        Path | None, typer.Option(metavar="SESSION", help="Session whose labels choose a detector's best checkpoint.")
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="SESSION", help="Session whose labels score detectors, instead of held-back labels."),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What the data are; kept with the model.")] = "",
    seed: Annotated[
        int, typer.Option(min=0, help="Of the split into training and held-back labels, and the rest.")
    ] = 0,
    anew: Annotated[bool, typer.Option("--anew", help="Begin anew, also where a training was interrupted.")] = False,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a model and score it on what it has not seen.

    Without --images it continues the model in use on the session's labels: of frames for a detector, of candidates for
    a patch network, of accepted masks for a segmenter. A third of the labels is held back to score old and new.

    With --images and --masks, or --points, it trains a network on files: msd and unet learn the class of every pixel,
    lenet learns to find objects. The last images are held back.

    The new model is registered under a name of its own; the engine goes on with the old one until
    `photon-triage models use SESSION NAME`. A training runs at low priority beside the engine. After an interruption
    the same command goes on where it was, with the labels that it began with.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.dispatch import run_network_training, trains_network
    from photon_triage.core.training.job import TrainingJob, run_training
    from photon_triage.core.training.network_job import NetworkJob
    from photon_triage.core.training.runs import lower_priority

    lower_priority()
    session = open_session(session_path, recipe) if images or recipe else Session.open(session_path)
    command = "photon-triage " + shlex.join(sys.argv[1:])
    job = NetworkJob(
        session=session,
        network=network,
        options=parse_options(option or ()),
        images=tuple(images or ()),
        masks=tuple(masks or ()),
        points=points,
        within=tuple(within or ()),
        margin=margin,
        only=_slice(only),
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        void=void,
        normalise=normalise,
        name=name,
        base=base,
        iterations=iterations,
        rate=rate,
        batch=batch,
        crop=crop,
        seed=seed,
        device=device,
        command=command,
        note=note,
        anew=anew,
    )
    run: Callable[[Note], Trained]
    if from_cfg is None and trains_network(job):
        if validate is not None or test is not None:
            raise UsageError(
                "Could not train: --validate and --test are for detectors.",
                "Other networks hold back images or labels.",
            )
        run = partial(run_network_training, job)
    else:
        detector = TrainingJob(
            session=session,
            name=name,
            base=base,
            cfg=from_cfg,
            iterations=iterations,
            rate=rate,
            validation=None if validate is None else Session.open(validate),
            test=None if test is None else Session.open(test),
            seed=seed,
            device=device,
            command=command,
            note=note,
            anew=anew,
        )
        run = partial(run_training, detector)
    with progress_bar("training", None, quiet=quiet or as_json) as advance:

        def show(done: int, planned: int, loss: float, f1: float | None) -> None:
            advance(done, total=planned, note=f"loss {loss:.4f}" + ("" if f1 is None else f"  F1 {f1:.3f}"))

        try:
            trained = run(show)
        except KeyboardInterrupt:
            raise TrainingError(
                "The training was interrupted; no model was written yet.",
                "Give the same command again: it goes on where it was. With --anew it begins anew.",
                title="Interrupted",
            ) from None
    if as_json:
        say_json(trained.report())
    else:
        say_report(trained.report(), session_path)


def _slice(text: str) -> slice:
    """A Python slice written A:B or A:B:C; raises UsageError."""
    parts = text.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
        if len(parts) not in (2, 3) or numbers[2:] == [0]:
            raise ValueError
    except ValueError:
        raise UsageError(f"Could not use --only {text}.", "Expected A:B as in 0:14, counted from 0.") from None
    return slice(*numbers)
