"""A whole study: its data, every variant, the reference method, and what came out."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion, best_threshold
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import PrepareTable, load_recipe
from photon_triage.core.simulate.spi import NOMINAL, detector_mask
from photon_triage.core.study.data import (
    PUBLISHED_BATCH,
    RECIPE,
    VARIANTS,
    StudyData,
    StudySize,
    Variant,
    cfg_of,
    study_data,
)
from photon_triage.core.training.data.examples import Examples, beam_in_region
from photon_triage.core.training.loop.checkpoints import FOLDER, Checkpoints, written
from photon_triage.core.training.loop.progress import Progress
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.detector.config import CLASSES
from photon_triage.core.training.tasks.detector.learner import WANTED, TrainingPlan, score, train
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector, load_detector

STATE, CLOCK = "state.safetensors", "clock.json"
SELECTIONS = ("best checkpoint", "intersection", "union")
MEASURES = ("iou", "accuracy", "precision", "recall", "f1")
PACKAGE = "spi_em_class"
ITERATIONS = {"quick": 2}
Note = Callable[[str, int, int, str], None]
"""Called with what is being done, how far it is and of how much, and a remark."""
SETTINGS = "study.json"


@dataclass(frozen=True)
class VariantRun:
    """A training of the study in a folder of its own; interrupted, it goes on where it was."""

    variant: Variant
    size: StudySize
    seed: int
    device: torch.device
    folder: Path

    def steps(self, data: StudyData) -> Iterator[Progress]:
        """Train, yielding after each batch; the result then stands in `result`."""
        variant, size = self.variant, self.size
        torch.manual_seed(self.seed)
        network = Darknet.from_cfg(cfg_of(variant.network, size), norm_form="cuda")
        detector = Detector(network, (WANTED,) if network.heads[0].classes == 1 else CLASSES)
        table = PrepareTable(roi=load_recipe(RECIPE).prepare.roi, scale=variant.scale, colour=variant.colour)
        preparation = Preparation(table, network.input_size, network.in_channels)
        labels = data.representative if variant.labels == "representative" else data.first_runs
        batch = size.batch or PUBLISHED_BATCH.get(variant.network, network.net.batch)
        plan = TrainingPlan(size.iterations, batch, size.rate, check_every=size.every, seed=self.seed)
        settings = asdict(variant) | asdict(size) | {"seed": self.seed}
        checkpoints = Checkpoints(self.folder / FOLDER, size.every, size.last)
        keeper = Keeper(self.folder / STATE, settings, checkpoints=checkpoints)
        clock = _Clock(self.folder / CLOCK)
        for step in train(detector, preparation, labels.training, plan, self.device, labels.validation, keeper):
            if step.f1 is not None:
                clock.keep()
            yield step
        selected, points = self._selected(detector, preparation, labels.validation, data.test)
        rows = {name: figures(keys, data.test) for name, keys in zip(SELECTIONS, selected, strict=True)}
        clock.keep()
        facts = asdict(variant) | {
            "parameters": network.parameter_count(), "input": list(network.input_size), "seed": self.seed,
            "iterations": size.iterations, "batch": batch, "device": str(self.device), "checkpoints": points,
            "hours": clock.wall / 3600, "processor_hours": clock.processor / 3600, "selections": rows,
        }  # fmt: skip
        write_json(self.folder.with_suffix(".json"), facts)
        keeper.forget()

    def _selected(
        self, best: Detector, preparation: Preparation, validation: Examples, test: Examples
    ) -> tuple[list[frozenset[FrameKey]], list[dict[str, Any]]]:
        """What the best checkpoint, all of the last ones and any of them select; and what is known of the last ones."""
        last, points = [], []
        for each in written(self.folder / FOLDER)[-self.size.last :]:
            detector = load_detector(each.path)
            keys, threshold = _selection(detector, preparation, validation, test, self.device)
            last.append(keys)
            points.append({
                "iteration": each.iteration, "validation_f1": each.f1, "threshold": threshold, **figures(keys, test)
            })  # fmt: skip
        chosen, _ = _selection(best, preparation, validation, test, self.device)
        return [chosen, frozenset.intersection(*last), frozenset[FrameKey]().union(*last)], points


def figures(selected: Set[FrameKey], test: Examples) -> dict[str, Any]:
    """The published table's row: selected, intersection with the truth, and each measure with its interval."""
    chosen = np.array([key in selected for key in test.keys], bool)
    true = test.positive
    confusion = Confusion(
        int((chosen & true).sum()), int((chosen & ~true).sum()), int((~chosen & true).sum()),
        int((~chosen & ~true).sum()),
    )  # fmt: skip
    found: dict[str, Any] = {"n": confusion.n, "selected": int(chosen.sum()), "intersection": confusion.tp}
    for name in MEASURES:
        estimate = getattr(confusion, name)
        found |= {name: estimate.value, f"{name}_interval": [estimate.low, estimate.high]}
    return found


def _selection(
    detector: Detector, preparation: Preparation, validation: Examples, test: Examples, device: torch.device
) -> tuple[frozenset[FrameKey], float | None]:
    """The test frames that a detector selects, at the threshold of the highest F1 on the validation frames."""

    def scores(examples: Examples) -> Mapping[FrameKey, float]:
        return dict(zip(examples.keys, score(detector, preparation, examples, device).tolist(), strict=True))

    truth = dict(zip(validation.keys, validation.positive.tolist(), strict=True))
    threshold = best_threshold(scores(validation), truth)
    if threshold is None:
        return frozenset(), None
    return frozenset(key for key, value in scores(test).items() if value >= threshold), threshold


class _Clock:
    """Seconds of a training over all its interruptions, on the wall and of the processor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {"wall": 0.0, "processor": 0.0}
        self._before, self._began = kept, (time.monotonic(), time.process_time())
        self.wall, self.processor = kept["wall"], kept["processor"]

    def keep(self) -> None:
        """Write down how long it took so far."""
        self.wall = self._before["wall"] + time.monotonic() - self._began[0]
        self.processor = self._before["processor"] + time.process_time() - self._began[1]
        write_json(self._path, {"wall": self.wall, "processor": self.processor})


def write_json(path: Path, value: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        file.write((json.dumps(value, indent=2) + "\n").encode())


def reference_row(data: StudyData, result: Path, seed: int, size: str) -> dict[str, Any]:
    """The reference's selections as JSON values, kept in the file `result`.

    The frames with labels and the test frames are sorted together. A class is selected where more of its labelled
    frames are single hits than not; and, as a bound, by an oracle that knows the truth of the test frames. Where the
    package is not installed `installed` is false. Raises SessionError where it fails.
    """
    if result.exists():
        return dict(json.loads(result.read_text(encoding="utf-8")))
    if find_spec(PACKAGE) is None:
        return {"installed": False, "hint": "pip install 'photon-triage[em]'"}
    from photon_triage.core.compare.em import EmSettings, chosen_by_labels, chosen_by_oracle, of_classes, run_worker

    began, labelled = time.monotonic(), data.representative.training
    settings = EmSettings(seed=seed)
    settings = replace(settings, iterations=ITERATIONS.get(size, settings.iterations))
    keys = (*labelled.keys, *data.test.keys)
    with tempfile.TemporaryDirectory(prefix="photon-triage-em-") as scratch:
        folder = Path(scratch)
        _write_frames(np.concatenate([labelled.counts, data.test.counts]), folder / "frames.cxi")
        run_worker(folder, settings, lambda done, planned: None)
        classes = dict(zip(keys, np.load(folder / "classes.npy", allow_pickle=False).tolist(), strict=True))
    labels = dict(zip(labelled.keys, labelled.positive.tolist(), strict=True))
    truth = dict(zip(data.test.keys, data.test.positive.tolist(), strict=True))
    tested = {key: classes[key] for key in data.test.keys}
    chosen = {"by labels": chosen_by_labels(classes, labels), "by an oracle": chosen_by_oracle(tested, truth)}
    row = {
        "installed": True,
        "seed": seed,
        "iterations": settings.iterations,
        "hours": (time.monotonic() - began) / 3600,
        "selections": {name: figures(of_classes(tested, numbers), data.test) for name, numbers in chosen.items()},
    }
    write_json(result, row)
    return row


def run_study(
    folder: Path,
    size: StudySize,
    seed: int,
    device: torch.device,
    note: Note = lambda what, done, planned, remark: None,
    variants: Sequence[Variant] = VARIANTS,
) -> dict[str, Any]:
    """Make the data, train what is not trained yet, and return all rows as JSON values.

    Everything is kept in the folder: the same study goes on there after an interruption. Raises TrainingError where
    another study stands in the folder.
    """
    _claim(folder, size, seed)
    data = study_data(size, seed, folder / "data", lambda what, done, planned: note(what, done, planned, "simulating"))
    rows = []
    for variant in variants:
        run = VariantRun(variant, size, seed, device, folder / slug(variant.name))
        result = run.folder.with_suffix(".json")
        if not result.exists():
            for step in run.steps(data):
                f1 = "" if step.f1 is None else f"  F1 {step.f1:.3f}"
                note(variant.name, step.done, step.planned, f"loss {step.loss:.3f}{f1}")
        rows.append(json.loads(result.read_text(encoding="utf-8")))
    note("EM reference", 0, 1, "")
    return {
        "data": {
            "simulated": True, "seed": seed, "test": len(data.test), "test_positive": int(data.test.positive.sum()),
            "training": len(data.representative.training), "validation": len(data.representative.validation),
        },
        "size": asdict(size),
        "variants": rows,
        "reference": reference_row(data, folder / "em.json", seed, size.name),
    }  # fmt: skip


def slug(name: str) -> str:
    """A variant's name as that of a file."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _write_frames(counts: np.ndarray[Any, Any], path: Path) -> None:
    """Frames (n, rows, columns) of the region in the layout of spi_em_class."""
    recipe = load_recipe(RECIPE)
    roi = recipe.prepare.roi
    assert roi is not None
    with h5py.File(path, "x") as out:
        group = out.create_group("entry_1/image_1")
        group["mask"] = (detector_mask()[roi.rows, roi.columns] != 0).astype(np.int32)
        group["image_center"] = np.array([*beam_in_region(NOMINAL, recipe), 0.0])
        group["data"] = counts.astype(np.int32)
        out["cxi_version"] = 160


def _claim(folder: Path, size: StudySize, seed: int) -> None:
    settings = json.loads(json.dumps({"size": asdict(size), "seed": seed}))
    path = folder / SETTINGS
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else settings
        if kept == settings:
            write_json(path, settings)
            return
    except (OSError, ValueError) as error:
        raise TrainingError(f"Could not keep a study in {folder}: {error}.", "Choose another folder.") from error
    raise TrainingError(
        f"Could not go on with the study in {folder}: it is one of another size or seed.",
        "Give the same options as then, or another folder with --out.",
    )
