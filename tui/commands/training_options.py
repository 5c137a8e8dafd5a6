"""Options of the training commands, and their values parsed from text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.core.common.errors import UsageError


def parse_options(given: Sequence[str]) -> dict[str, Any]:
    """Options KEY=VALUE by key; values are numbers, lists such as 6,16 or [6], true, false, null, or words.

    Raises UsageError.
    """
    options = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"Could not use --option {each}.", "Expected KEY=VALUE, as in depth=30 or widths=6,16.")
        options[key] = _value(value)
    return options


def parse_size(given: str | None) -> tuple[int, ...] | None:
    """The extents of `416x416`, height first. Raises UsageError."""
    if given is None:
        return None
    parts = given.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"Could not use --size {given}.", "Expected HEIGHTxWIDTH in pixels, as in 416x416.")
    return tuple(map(int, parts))


def parse_names(given: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return [_value(part) for part in text.split(",")] if "," in text else text


# What is trained, and what it begins with.
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Network: hitnet, yolov2-seeds, ..., a .cfg file, msd, unet, lenet, radial; else the one in use.",
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="WEIGHTS",
        help="To begin with: a model's name, a .safetensors or Darknet .weights file, whole or cut.",
    ),
]
Freeze = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Keep the first N layers of a Darknet network, or layers by how their names begin; none: all learn.",
    ),
]
Option = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of a new network, such as depth=30 or patch=50.")
]

# From what it learns.
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="SOURCES", help="Of labels, imported, simulated, audit, with commas; labels,imported."
    ),
]
Simulated = Annotated[int, typer.Option(min=1, metavar="FRAMES", help="To simulate, where --from says so.")]
Images = Annotated[
    list[Path] | None, typer.Option(metavar="PATH", help="TIFF, HDF5, PNG or .npy files, or folders of them.")
]
Masks = Annotated[
    list[Path] | None, typer.Option(metavar="PATH", help="A mask for every image, in the same sorted order of names.")
]
Points = Annotated[
    Path | None,
    typer.Option(metavar="CSV", help="Points of objects, with columns file, index, verdict, x, y; for lenet."),
]
Within = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", help="Masks of where objects are searched for, such as membranes; for lenet."),
]
Margin = Annotated[int | None, typer.Option(min=0, metavar="PIXELS", help="To widen those masks by; the recipe's.")]
Only = Annotated[str, typer.Option(metavar="A:B", help="Slice of the sorted images to use.")]
Classes = Annotated[
    str, typer.Option(metavar="NAMES", help="Of the masks' values in ascending order, such as background,membrane.")
]
Void = Annotated[int | None, typer.Option(metavar="VALUE", help="Of pixels that are neither learned nor scored.")]
Normalise = Annotated[str, typer.Option(metavar="BY", help="Mean and deviation of the grey values: training or frame.")]

# How.
Epochs = Annotated[
    float | None, typer.Option(min=0, metavar="N", help="How often every example is seen, instead of --iterations.")
]
Iterations = Annotated[int | None, typer.Option(min=1, help="Batches; what the network needs.")]
Rate = Annotated[float | None, typer.Option(min=0, help="Learning rate; the network's own schedule.")]
Batch = Annotated[int | None, typer.Option(min=1, help="Frames, crops or patches in a batch.")]
Crop = Annotated[int | None, typer.Option(min=1, metavar="PIXELS", help="Side of the crops to train on; 256.")]
Augment = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="all, none, or of rotate, friedel, mirror, thin, gaps, gain, with commas."),
]
BalanceShare = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Part of a batch that is accepted frames, or natural: as labelled; 0.3."),
]
ClassWeights = Annotated[
    str | None,
    typer.Option(metavar="WEIGHTS", help="balanced, none, or for detectors CLASS=WEIGHT with commas, such as water=2."),
]
Negatives = Annotated[
    str,
    typer.Option(metavar="HOW", help="Which to learn from, by their statistics: random, representative or hard."),
]
Loss = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Of msd and unet: cross-entropy, dice, mse, smoothed or bootstrapped; cross-entropy."
    ),
]
CheckpointEvery = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Keep a checkpoint every so many batches, with its F1.")
]
CheckpointsKept = Annotated[int, typer.Option(min=1, metavar="K", help="So many of the last checkpoints remain.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the split into training and held-back labels, and the rest.")]
Anew = Annotated[bool, typer.Option("--anew", help="Begin anew, also where a training was interrupted.")]

# What becomes of it.
Name = Annotated[str | None, typer.Option(help="Name of the new model; made from the old one's, if not given.")]
Validate = Annotated[
    Path | None, typer.Option(metavar="SESSION", help="Session whose labels choose a detector's best checkpoint.")
]
Test = Annotated[
    Path | None,
    typer.Option(metavar="SESSION", help="Session whose labels score detectors, instead of held-back labels."),
]
Note = Annotated[str, typer.Option(metavar="TEXT", help="What the data are; kept with the model.")]
