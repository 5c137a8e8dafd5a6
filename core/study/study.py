"""A whole study: its data, every variant, the reference method, and what came out."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.study.data import study_data
from photon_triage.core.study.reference import reference_row
from photon_triage.core.study.running import VariantRun, write_json
from photon_triage.core.study.size import StudySize
from photon_triage.core.study.variants import VARIANTS, Variant

Note = Callable[[str, int, int, str], None]
"""Called with what is being done, how far it is and of how much, and a remark."""

SETTINGS = "study.json"


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
