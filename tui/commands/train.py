"""Commands `train` and `training`: training from labels or masks, and control of the trainings of a session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.engine import ApproveOption, approved
from photon_triage.tui.commands.output import say, say_json, say_table

if TYPE_CHECKING:
    from photon_triage.core.session.trainings.trainings import Training
import shlex
import sys
from collections.abc import Callable
from functools import partial

from photon_triage.core.common.errors import UsageError
from photon_triage.tui.commands import training_options as options
from photon_triage.tui.commands.session import DeviceOption, RecipeOption, open_session
from photon_triage.tui.commands.training_options import parse_names, parse_options
from photon_triage.tui.commands.training_report import say_report, shown_training
from photon_triage.tui.resumption import approve_begun

if TYPE_CHECKING:
    from photon_triage.core.training.loop.checkpoints import Trained
    from photon_triage.core.training.loop.progress import Note


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SessionArgument = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name that `training list SESSION` shows.")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it has come to that.")]


@app.command("list")
def list_trainings(
    session_path: SessionArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the session's trainings with their state, those at work first."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, TrainingsFollower
    from photon_triage.tui.terminal.text import left, state_sign

    trainings = TrainingsFollower(Session.open(session_path)).read()
    if as_json:
        say_json([training.report() for training in trainings])
        return
    rows = [("training", "state", "batches", "loss", "best F1 on held-out data", "left", "")]
    for each in trainings:
        loss = f"{each.curve[-1].loss:.4f}" if each.curve else ""
        f1 = "" if each.best_f1 is None else f"{each.best_f1:.3f}"
        state = f"{state_sign(each.state)} {each.state}"
        remains = left(each) if each.state in AT_WORK else ""
        rows.append((each.name, state, f"{each.done}/{each.planned}", loss, f1, remains, each.message))
    say_table(rows)


@app.command()
def pause(session_path: SessionArgument, name: NameArgument, wait: WaitOption = 0.0) -> None:
    """Pause a training after the batch it is at, its state kept; its process waits without work."""
    from photon_triage.core.session.trainings.trainings import PAUSE

    training = _at_work(session_path, name)
    _wish(training, session_path, PAUSE, wait, "paused")


@app.command()
def stop(session_path: SessionArgument, name: NameArgument, wait: WaitOption = 0.0) -> None:
    """Stop a training after the batch it is at, its state kept; `training continue` goes on with it."""
    from photon_triage.core.session.trainings.trainings import STOP

    training = _at_work(session_path, name)
    _wish(training, session_path, STOP, wait, "interrupted")


@app.command("continue")
def go_on(session_path: SessionArgument, name: NameArgument, approve_commands: ApproveOption = False) -> None:
    """Go on with a training that is paused, or that was stopped, killed or interrupted, at low priority, by itself."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, PAUSE, RESUMABLE, find_training, wish
    from photon_triage.tui.resumption import resumption
    from photon_triage.tui.snapshot.training_process import resume

    training = find_training(Session.open(session_path), name)
    if training.state in AT_WORK:
        wish(training, PAUSE, holds=False)
    else:
        if training.state in RESUMABLE and not (command := resumption(training)).allowed:
            what = f"The training {name} was not begun by this account; its folder says that it was by"
            approved("training", command.approval, what, approve=approve_commands)
        resume(training)
    say(f"{name} goes on; `photon-triage training list {session_path}` tells how far it is.")


def _at_work(session_path: Path, name: str) -> Training:
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, find_training

    training = find_training(Session.open(session_path), name)
    if training.state not in AT_WORK:
        raise SessionError(
            f"Could not pause or stop the training {name}: it is {training.state}.",
            "Nothing of it is at work.",
            title="Not at work",
        )
    return training


def _wish(training: Training, session_path: Path, file: str, wait: float, wanted: str) -> None:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import find_training, wish

    wish(training, file)
    session, deadline = Session.open(session_path), time.monotonic() + wait
    now = find_training(session, training.name)
    while now.state not in (wanted, "done", "failed") and time.monotonic() < deadline:
        time.sleep(0.1)
        now = find_training(session, training.name)
    say(f"{training.name} is {now.state}, {now.done} of {now.planned} batches are done.")


def train(
    session_path: Annotated[
        Path, typer.Argument(metavar="SESSION", help="Session to train in; with --images made if it is not there.")
    ],
    model: options.Model = None,
    init: options.Init = None,
    freeze: options.Freeze = None,
    option: options.Option = None,
    source: options.From = None,
    simulated: options.Simulated = 2000,
    images: options.Images = None,
    masks: options.Masks = None,
    points: options.Points = None,
    within: options.Within = None,
    margin: options.Margin = None,
    only: options.Only = ":",
    classes: options.Classes = "",
    void: options.Void = None,
    normalise: options.Normalise = "training",
    recipe: RecipeOption = None,
    epochs: options.Epochs = None,
    iterations: options.Iterations = None,
    rate: options.Rate = None,
    batch: options.Batch = None,
    crop: options.Crop = None,
    augment: options.Augment = None,
    balance: options.BalanceShare = None,
    class_weights: options.ClassWeights = None,
    negatives: options.Negatives = "random",
    loss: options.Loss = None,
    checkpoint_every: options.CheckpointEvery = None,
    keep_checkpoints: options.CheckpointsKept = 10,
    seed: options.Seed = 0,
    anew: options.Anew = False,
    name: options.Name = None,
    validate: options.Validate = None,
    test: options.Test = None,
    note: options.Note = "",
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train a model and evaluate it on labels or images that are held out of training.

    Without --model and --init the model in use goes on learning from the session's labels: of frames for a detector,
    of candidates for a patch network, of accepted masks for a segmenter. A third of the labels is held back to score
    old and new. --model begins a new network, --init says with which weights.

    Labels of the audit judge models and teach none, unless --from names them.

    With --images and --masks, or --points, it trains a network on files: msd and unet learn the class of every pixel,
    lenet learns to find objects. The last images are held back.

    The new model is registered under a name of its own; the engine goes on with the old one until
    `photon-triage models use SESSION NAME`. A training runs at low priority beside the engine. After an interruption
    the same command goes on where it was, with the labels that it began with.

    On several GPUs: torchrun --nproc-per-node 2 -m photon_triage.tui train SESSION ...; a batch is divided among them.
    """
    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.data.augment import checked_augmentations
    from photon_triage.core.training.data.preselection import checked_how
    from photon_triage.core.training.data.sources import DEFAULT_SOURCES, checked_sources
    from photon_triage.core.training.dispatch import asked, run_network_training, trains_network
    from photon_triage.core.training.evaluation.pixel_losses import checked_loss
    from photon_triage.core.training.loop.distributed import OtherRankDone, joined
    from photon_triage.core.training.model.job import NetworkJob
    from photon_triage.core.training.tasks.detector.batch_sampler import parse_balance
    from photon_triage.core.training.tasks.detector.config import TrainingJob
    from photon_triage.core.training.tasks.detector.detector_job import run_training

    if epochs is not None and iterations is not None:
        raise UsageError("Could not train for --epochs and --iterations.", "Give one of them.")
    sources = DEFAULT_SOURCES if source is None else checked_sources(parse_names(source))
    augmentations = checked_augmentations(augment)
    lower_priority()
    session = open_session(session_path, recipe) if images or recipe else Session.open(session_path)
    what = asked(model, init, session, changed=bool(option))
    approve_begun(sys.argv[1:])
    command = "photon-triage " + shlex.join(sys.argv[1:])
    job = NetworkJob(
        session=session,
        network=what.family,
        options=parse_options(option or ()),
        images=tuple(images or ()),
        masks=tuple(masks or ()),
        points=points,
        within=tuple(within or ()),
        margin=margin,
        only=_slice(only),
        classes=parse_names(classes),
        void=void,
        normalise=normalise,
        name=name,
        base=what.base,
        init=what.init,
        freeze=freeze,
        sources=sources,
        epochs=epochs,
        iterations=iterations,
        rate=rate,
        batch=batch,
        crop=crop,
        loss=checked_loss(loss),
        weighted=class_weights != "none",
        checkpoint_every=checkpoint_every,
        checkpoints_kept=keep_checkpoints,
        negatives=checked_how(negatives),
        seed=seed,
        device=device,
        command=command,
        note=note,
        anew=anew,
    )
    run: Callable[[Note], Trained]
    if what.cfg is None and trains_network(job):
        given = {"validate": validate, "test": test, "augment": augment, "balance": balance}
        if class_weights not in (None, "balanced", "none"):
            given["class-weights"] = class_weights
        for each, value in given.items():
            if value is not None:
                raise UsageError(
                    f"Could not train: --{each} {value} is for detectors.",
                    "Other networks hold back images or labels, augment in their own ways, and weigh classes balanced "
                    "or none.",
                )
        run = partial(run_network_training, job)
    else:
        if loss is not None:
            raise UsageError(f"Could not train: --loss {loss} is for msd and unet.", "Detectors have Darknet's loss.")
        detector = TrainingJob(
            session=session,
            name=name,
            base=what.base,
            cfg=what.cfg,
            init=what.init,
            freeze=freeze,
            sources=sources,
            simulated=simulated,
            augment=augmentations,
            balance=parse_balance(balance, class_weights),
            negatives=checked_how(negatives),
            epochs=epochs,
            iterations=iterations,
            rate=rate,
            batch=batch,
            checkpoint_every=checkpoint_every,
            checkpoints_kept=keep_checkpoints,
            validation=None if validate is None else Session.open(validate),
            test=None if test is None else Session.open(test),
            seed=seed,
            device=device,
            command=command,
            note=note,
            anew=anew,
        )
        run = partial(run_training, detector)
    with shown_training(
        "training",
        "The training was interrupted; no model was written yet.",
        "Give the same command again: it goes on where it was. With --anew it begins anew.",
        quiet=quiet or as_json,
    ) as told:
        try:
            with joined(device):
                trained = run(told)
        except OtherRankDone:
            return
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
