"""The variants and sizes of a study, and its frames: a simulated beamtime, behind hit finding and the size window."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.frames import Batch, FrameKey
from photon_triage.core.prepare import preparation_for
from photon_triage.core.recipe import LitPixelsStage, Recipe, SizeStage, load_recipe
from photon_triage.core.simulate.spi import NOMINAL, SpiRun
from photon_triage.core.stages.cascade import Stage, run_cascade
from photon_triage.core.stages.size import Size
from photon_triage.core.stages.spots import LitPixels
from photon_triage.core.training.data.examples import Examples, pattern_box
from photon_triage.models.darknet.cfg import shipped_cfg

PUBLISHED_BATCH = {"yolov3-1class": 24}
"""Frames in a batch where the published training differs from the cfg."""

ALREADY_SMALL = ("hitnet",)

RECIPE = "spi-presort"
POOL_SINGLES = 0.25
"""Singles among the hits that labels are given to; who labels looks for them. The test frames are as published."""

TRAINING, VALIDATION, TEST = "training", "validation", "test"
FIRST_FRAMES = {TRAINING: 0, VALIDATION: 100_000, TEST: 200_000}
"""Where each part's frames begin in every run, so that none is in two of them nor beside another's."""

BATCH = 32
Wanted = tuple[int, int] | int
"""Positives and negatives; or frames, whatever they are."""

Note = Callable[[str, int, int], None]
"""Called with what is simulated, how many frames there are, and how many there are to be."""


@dataclass(frozen=True)
class Variant:
    """One training of the study. network: a shipped cfg. labels: from all runs, or from the first runs only."""

    name: str
    network: str
    colour: Literal["grey", "jet"]
    scale: Literal["linear", "log"]
    labels: Literal["representative", "first-runs"] = "representative"


VARIANTS = (
    Variant("YOLOv2, colour, linear", "yolov2-seeds", "jet", "linear"),
    Variant("YOLOv2, colour, log", "yolov2-seeds", "jet", "log"),
    Variant("YOLOv2, grey, linear", "yolov2-seeds", "grey", "linear"),
    Variant("YOLOv2, grey, log", "yolov2-seeds", "grey", "log"),
    Variant("YOLOv3, colour, linear", "yolov3-1class", "jet", "linear"),
    Variant("YOLOv3, grey, linear", "yolov3-1class", "grey", "linear"),
    Variant("YOLOv2, grey, linear, first runs", "yolov2-seeds", "grey", "linear", "first-runs"),
    Variant("YOLOv2, grey, log, first runs", "yolov2-seeds", "grey", "log", "first-runs"),
    Variant("residual, grey, log", "residual-1class", "grey", "log"),
    Variant("hitnet, grey, log", "hitnet", "grey", "log"),
)
"""The six published rows in their order, labels from the first runs, and the networks that are this project's own."""


@dataclass(frozen=True)
class StudySize:
    """How much is simulated and trained.

    runs: of the beamtime, of which the first `first_runs` are the "first runs". training, validation: positives and
    negatives. test: frames. iterations, batch, every: of each training, and batches between two checkpoints. last: of
    the checkpoints, to intersect. rate: learning rate; None follows each cfg. shape: of the networks' input, and
    divisor: of the number of filters; None and 1 leave the cfgs as they are.
    """

    name: str
    runs: int
    first_runs: int
    training: tuple[int, int]
    validation: tuple[int, int]
    test: int
    iterations: int
    every: int
    batch: int | None
    last: int = 5
    rate: float | None = None
    shape: tuple[int, int] | None = None
    divisor: int = 1


SIZES = {
    "full": StudySize("full", 8, 2, (165, 390), (53, 283), 17932, 4400, 100, None),
    "small": StudySize("small", 8, 2, (165, 390), (53, 283), 2400, 400, 20, 16, rate=2e-3, shape=(128, 256), divisor=4),
    "quick": StudySize("quick", 4, 2, (24, 48), (12, 24), 120, 12, 3, 8, last=3, rate=2e-3, shape=(64, 128), divisor=8),
}
"""Labels, test frames and iterations of "full" and labels of "small" are those published."""


def cfg_of(network: str, size: StudySize) -> str:
    """The cfg text of a shipped network, with its input and its filters made smaller where the study is small.

    The filters before a head stay: the head needs that many.
    """
    text = shipped_cfg(network)
    if size.shape is None or network in ALREADY_SMALL:
        return text
    for key, value in zip(("height", "width"), size.shape, strict=True):
        text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
    head, *layers = re.split(r"(?m)^(?=\[)", text.lstrip())
    return "".join([head, *(_thinner(layer, size.divisor) for layer in layers)])


@dataclass(frozen=True)
class StudyFrames:
    """Frames for training and for validation."""

    training: Examples
    validation: Examples


@dataclass(frozen=True)
class StudyData:
    """representative: labels from all runs. first_runs: as many, from the first runs only. test: from all runs."""

    representative: StudyFrames
    first_runs: StudyFrames
    test: Examples


def study_data(size: StudySize, seed: int, folder: Path, note: Note = lambda what, done, planned: None) -> StudyData:
    """The frames of a study, simulated once and kept in a folder."""
    every = range(1, size.runs + 1)
    first = range(1, size.first_runs + 1)

    def examples(name: str, runs: range, part: str, wanted: Wanted) -> Examples:
        path = folder / f"{name}-{part}.npz"
        if not path.exists():
            told = partial(note, f"{name} {part}")
            shares = zip(runs, _shares(wanted, len(runs)), strict=True)
            _write(path, _joined([_drawn(seed, run, part, share, told) for run, share in shares]))
        return _load(path)

    representative, first_runs = (
        StudyFrames(examples(name, runs, TRAINING, size.training), examples(name, runs, VALIDATION, size.validation))
        for name, runs in (("representative", every), ("first-runs", first))
    )
    return StudyData(representative, first_runs, examples("all", every, TEST, size.test))


def _thinner(layer: str, divisor: int) -> str:
    if "activation=linear" in layer:
        return layer
    return re.sub(
        r"^filters=(\d+)", lambda found: f"filters={max(8, int(found[1]) // divisor)}", layer, flags=re.MULTILINE
    )


def _drawn(seed: int, run: int, part: str, wanted: Wanted, note: Callable[[int, int], None]) -> Examples:
    """Frames of a run that hit finding and the size window pass, in their order, until there are enough."""
    recipe = load_recipe(RECIPE)
    simulated = SpiRun(seed, run, blanks=0.0, singles=None if isinstance(wanted, int) else POOL_SINGLES)
    cut = preparation_for(recipe, simulated.shape, 1)
    good = torch.from_numpy(simulated.bad == 0)
    keys: list[FrameKey] = []
    counts, diameters, positive = [], [], []
    left = [wanted, wanted] if isinstance(wanted, int) else list(wanted)
    planned = wanted if isinstance(wanted, int) else sum(wanted)
    for batch, truth in _batches(simulated, part, good):
        outcomes = run_cascade(_stages(recipe), batch)
        for place, outcome in enumerate(outcomes):
            single = truth[place] == "single"
            kind = 0 if single else 1
            if outcome.passed < len(recipe.stages) or left[kind] <= 0:
                continue
            left[kind] -= 1
            if isinstance(wanted, int):
                left[1 - kind] -= 1
            keys.append(batch.keys[place])
            counts.append(cut.region(batch.frames[place : place + 1], good)[0].numpy().astype(np.int16))
            diameters.append(outcome.measures["diameter_nm"])
            positive.append(single)
        note(len(keys), planned)
        if max(left) <= 0:
            break
    boxes = [
        cut.from_frame(pattern_box(NOMINAL, diameter, recipe, simulated.shape), simulated.shape)
        for diameter in diameters
    ]
    return Examples(
        tuple(keys), np.stack(counts), np.array(positive, bool), np.full(len(keys), ""), np.array(boxes, np.float32),
        np.full(len(keys), f"run_{run:04d}"), 0, 0,
    )  # fmt: skip


def _batches(simulated: SpiRun, part: str, good: torch.Tensor) -> Iterator[tuple[Batch, list[str]]]:
    """Frames of a run from the part's first on, without end, and what was in the focus."""
    for start in count(FIRST_FRAMES[part], BATCH):
        frames, truth = zip(*(simulated.frame(index) for index in range(start, start + BATCH)), strict=True)
        keys = tuple(FrameKey(f"run_{simulated.run:04d}", "", index) for index in range(start, start + BATCH))
        yield (
            Batch(keys, torch.from_numpy(np.stack(frames)), good, NOMINAL),
            [each.category for each in truth],
        )


def _stages(recipe: Recipe) -> list[Stage]:
    roi = recipe.prepare.roi
    return [
        LitPixels(table, roi) if isinstance(table, LitPixelsStage) else Size(table, roi)
        for table in recipe.stages
        if isinstance(table, LitPixelsStage | SizeStage)
    ]


def _shares(wanted: Wanted, runs: int) -> list[Wanted]:
    """What each run gives, as equal as can be."""

    def shares(whole: int) -> list[int]:
        return [whole // runs + (place < whole % runs) for place in range(runs)]

    if isinstance(wanted, int):
        return [*shares(wanted)]
    return [*zip(shares(wanted[0]), shares(wanted[1]), strict=True)]


def _joined(parts: Sequence[Examples]) -> Examples:
    return Examples(
        tuple(key for each in parts for key in each.keys),
        np.concatenate([each.counts for each in parts]),
        np.concatenate([each.positive for each in parts]),
        np.concatenate([each.categories for each in parts]),
        np.concatenate([each.boxes for each in parts]),
        np.concatenate([each.runs for each in parts]),
        0,
        0,
    )


def _write(path: Path, examples: Examples) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.savez_compressed(
            file, counts=examples.counts, positive=examples.positive, boxes=examples.boxes, runs=examples.runs,
            indices=np.array([key.index for key in examples.keys]),
        )  # fmt: skip


def _load(path: Path) -> Examples:
    with np.load(path, allow_pickle=False) as kept:
        runs = kept["runs"]
        keys = tuple(
            FrameKey(run, "", index) for run, index in zip(runs.tolist(), kept["indices"].tolist(), strict=True)
        )
        return Examples(
            keys, kept["counts"], kept["positive"], np.full(len(keys), ""), kept["boxes"], runs, 0, 0
        )  # fmt: skip
