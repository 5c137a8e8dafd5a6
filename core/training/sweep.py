"""Sweeps: trainings over a small grid of options, each in a folder of its own, ranked by F1 on validation."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import read_json
from photon_triage.core.common.errors import TrainingError, UsageError
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import read_curve, trainings_path

RESULT = "sweep.json"
MOST_POINTS = 64
WRONG_USAGE = 2
OWN = ("name", "json", "quiet", "anew", "grid")
Note = Callable[[int, int, str], None]


@dataclass(frozen=True)
class SweepPoint:
    """One training of a sweep: its name, and the options of the grid that are its own."""

    name: str
    options: Mapping[str, str]

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.options.items())


def parse_grid(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Options and their values, each written KEY=VALUE,VALUE; raises UsageError."""
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, _, values = text.partition("=")
        key = key.strip().removeprefix("--").replace("_", "-")
        found = tuple(dict.fromkeys(value.strip() for value in values.split(",") if value.strip()))
        if not key or not found or key in grid or key in OWN:
            raise UsageError(
                f"Could not use --grid {text}.",
                "Expected an option of train and its values, once, such as --grid rate=1e-4,3e-4.",
            )
        grid[key] = found
    if not grid or prod(map(len, grid.values())) > MOST_POINTS:
        raise UsageError(
            f"Could not sweep over {prod(map(len, grid.values())) if grid else 0} points.",
            f"Give 1 to {MOST_POINTS} with --grid, such as --grid rate=1e-4,3e-4 --grid batch=32,64.",
        )
    return grid


def points_of(grid: Mapping[str, Sequence[str]], fixed: Sequence[str], prefix: str) -> list[SweepPoint]:
    """Every combination, named after itself and the fixed options, so that the same sweep finds its points again."""
    found = []
    for values in product(*grid.values()):
        options = dict(zip(grid, values, strict=True))
        digest = hashlib.sha256(json.dumps([sorted(options.items()), list(fixed)]).encode()).hexdigest()[:8]
        found.append(SweepPoint(f"{prefix}-{digest}", options))
    return found


def sweep(
    session: Session,
    points: Sequence[SweepPoint],
    fixed: Sequence[str],
    *,
    anew: bool = False,
    note: Note = lambda done, planned, what: None,
) -> list[dict[str, Any]]:
    """Train every point that is not done yet, and return all, the best on validation first, as JSON values.

    A point that was interrupted goes on where it was. What fails in one point is told in its row. Raises UsageError
    where train refuses the options, TrainingError where a training says no validation F1.
    """
    rows = []
    for done, point in enumerate(points):
        note(done, len(points), str(point))
        row = None if anew else _result(session, point)
        rows.append(row if row is not None else _trained(session, point, fixed, anew=anew))
    note(len(points), len(points), "")
    return sorted(rows, key=lambda row: -1.0 if row["validation_f1"] is None else row["validation_f1"], reverse=True)


def _result(session: Session, point: SweepPoint) -> dict[str, Any] | None:
    try:
        return dict(read_json(trainings_path(session) / point.name / RESULT, session.path))
    except (OSError, ValueError, TypeError):
        return None


def _trained(session: Session, point: SweepPoint, fixed: Sequence[str], *, anew: bool) -> dict[str, Any]:
    options = [f"--{key}={value}" for key, value in point.options.items()]
    asked = ["train", str(session.path), *fixed, *options, f"--name={point.name}", "--json"]
    # A process of its own: a sweep outlives one that the system ends, and its memory is free for the next.
    done = subprocess.run(
        [sys.executable, "-P", "-m", "photon_triage.tui", *asked, *(["--anew"] if anew else [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    row: dict[str, Any] = {"name": point.name, "options": dict(point.options)}
    if done.returncode == WRONG_USAGE:
        raise UsageError(f"Could not train {point}: {done.stderr.strip()}", "Give options of `photon-triage train`.")
    if done.returncode:
        return row | {"validation_f1": None, "validation_interval": None, "failed": done.stderr.strip()}
    report = json.loads(done.stdout)
    folder = trainings_path(session) / point.name
    f1, interval = _validation(report, folder)
    if f1 is None:
        raise TrainingError(
            f"Could not rank {point}: its training was not judged on validation examples.",
            "Give --validate SESSION, whose labels choose; the model of this point is there all the same.",
        )
    row |= {"validation_f1": f1, "validation_interval": interval, "report": report}
    _write(folder / RESULT, row)
    return row


def _validation(report: Mapping[str, Any], folder: Path) -> tuple[float | None, list[float] | None]:
    """F1 on validation, and its interval where frames were counted; else the best of the curve."""
    if judged := report.get("validation"):
        return judged["f1"], judged["f1_interval"]
    checked = [point.f1 for point in read_curve(folder) if point.f1 is not None]
    return (max(checked), None) if checked else (None, None)


def _write(path: Path, row: Mapping[str, Any]) -> None:
    try:
        with atomic_file(path) as file:
            file.write((json.dumps(row, indent=2) + "\n").encode())
    except OSError as error:
        raise TrainingError(
            f"Could not keep the result {path}: {error.strerror or error}.",
            "Make the session's folder writable, with room in it, and give the same command again.",
        ) from error
