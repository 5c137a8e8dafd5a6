"""`photon-triage weak`: one round of training on masks of doubtful quality."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.session import DeviceOption, RecipeOption, open_session
from photon_triage.tui.commands.training_options import parse_names, parse_options
from photon_triage.tui.commands.training_report import shown_training
from photon_triage.tui.resumption import approve_begun


def weak(
    session_path: Annotated[
        Path, typer.Argument(metavar="SESSION", help="Session to train in; with --recipe made if it is not there.")
    ],
    images: Annotated[list[Path], typer.Option(metavar="PATH", help="Images to learn from, files or folders.")],
    masks: Annotated[list[Path], typer.Option(metavar="PATH", help="Their masks, of doubtful quality.")],
    clean_images: Annotated[list[Path], typer.Option(metavar="PATH", help="Images that score each round.")],
    clean_masks: Annotated[list[Path], typer.Option(metavar="PATH", help="Their masks, which are right.")],
    corrected: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Corrected masks, called as their images; SESSION/training/corrected if it is there."
        ),
    ] = None,
    worst: Annotated[int, typer.Option(min=0, metavar="N", help="Masks to propose for correction.")] = 5,
    proposals: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; SESSION/training/proposals/ROUND.")
    ] = None,
    model: Annotated[str, typer.Option(metavar="FAMILY", help="Of the network: msd or unet.")] = "msd",
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the network, such as depth=30.")
    ] = None,
    loss: Annotated[
        str, typer.Option(metavar="NAME", help="cross-entropy, dice, mse, smoothed or bootstrapped.")
    ] = "bootstrapped",
    classes: Annotated[
        str, typer.Option(metavar="NAMES", help="Of the masks' values in ascending order, such as background,bone.")
    ] = "",
    void: Annotated[int | None, typer.Option(metavar="VALUE", help="Of pixels that do not count.")] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Batches; what the network needs.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate; what the network needs.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Crops in a batch.")] = None,
    crop: Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Side of the crops; 256.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the models, before the round's number; weak.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    recipe: RecipeOption = None,
    anew: Annotated[bool, typer.Option("--anew", help="Begin an interrupted round anew.")] = False,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train on masks of doubtful quality, and say which of them to correct first.

    Each call is a round: a new network learns from the masks, those that were corrected in place of theirs, and is
    scored on the clean set, from which it never learns. The masks that disagree most with it are listed, and what it
    says of them is written as PNG files: correct them, put them into the folder of corrected masks and call again.
    Masks that were accepted on the screen count as corrected, rejected ones come first in the list.

    SESSION/training/rounds.jsonl keeps every round and what it has gained on the clean set.
    """
    from photon_triage.core.common.worker_process import lower_priority
    from photon_triage.core.training.evaluation.pixel_losses import checked_loss
    from photon_triage.core.training.model.job import NetworkJob
    from photon_triage.core.training.tasks.segmentation.weak_rounds import WeakJob, run_weak_round

    checked = checked_loss(loss)
    lower_priority()
    approve_begun(sys.argv[1:])
    session = open_session(session_path, recipe)
    network = NetworkJob(
        session=session,
        network=model,
        options=parse_options(option or ()),
        images=tuple(images),
        masks=tuple(masks),
        classes=parse_names(classes),
        void=void,
        name=name,
        iterations=iterations,
        rate=rate,
        batch=batch,
        crop=crop,
        loss=checked,
        seed=seed,
        device=device,
        command="photon-triage " + shlex.join(sys.argv[1:]),
        anew=anew,
    )
    job = WeakJob(network, tuple(clean_images), tuple(clean_masks), corrected, worst, proposals)
    with shown_training(
        "training",
        "The round was interrupted.",
        "Give the same command again: it goes on where it was. With --anew it begins anew.",
        quiet=quiet or as_json,
    ) as told:
        done = run_weak_round(job, told)
    if as_json:
        ranked = [
            {"image": each.name, "disagreement": each.disagreement, "share": each.share, "rejected": each.rejected}
            for each in done.ranked
        ]
        say_json(done.record | {"path": str(done.trained.entry.path), "ranked": ranked})
    else:
        _say(done.record)


def _say(record: dict[str, Any]) -> None:
    gain = "" if record["gain"] is None else f", {record['gain']:+.3f} over the round before"
    first = "" if record["gain_since_first"] is None else f", {record['gain_since_first']:+.3f} over the first"
    f1 = "undefined" if record["f1"] is None else f"{record['f1']:.3f}"
    say(
        f"Round {record['round']}: {record['model']} learned from {record['images']} masks, {len(record['corrected'])} "
        f"of them corrected; F1 {f1} on {record['evaluated_on']}{gain}{first}."
    )
    if record["left_out"]:
        say(f"Not learned from, for they are of the clean set or next to it: {', '.join(record['left_out'])}.")
    if record["worst"]:
        say("To correct, the most doubtful first:")
        rows = [("image", "disagreement", "pixels that differ", "proposal")]
        rows += [
            (each["image"], f"{each['disagreement']:.3f}" + (" rejected" if each["rejected"] else ""),
             f"{each['share']:.1%}", each["proposal"])
            for each in record["worst"]
        ]  # fmt: skip
        say_table(rows)
