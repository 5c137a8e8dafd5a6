"""A whole study: its data, every variant, the reference method, and what came out."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.recipe import load_recipe
from photon_triage.core.simulate.spi import NOMINAL, detector_mask
from photon_triage.core.study.data import RECIPE, VARIANTS, StudyData, StudySize, Variant, study_data
from photon_triage.core.study.trials import VariantRun, figures, write_json
from photon_triage.core.training.data.examples import beam_in_region

PACKAGE = "spi_em_class"
ITERATIONS = {"quick": 2}

Note = Callable[[str, int, int, str], None]
"""Called with what is being done, how far it is and of how much, and a remark."""

SETTINGS = "study.json"


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
