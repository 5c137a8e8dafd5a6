"""Rounds with masks of doubtful quality: do they gain, and more than correcting masks at random?

Simulated slices of a degrading screw; the masks of every second one are spoilt as hurried or failed segmentations are:
moved and swollen, a class taken for another, objects left out. A round trains a new network, and the masks that
disagree most with it are replaced by the truth, which stands for an operator who corrects them; beside it as many are
replaced at random. Scored are clean slices of other runs. Also compared are losses on the masks as they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine
from numpy.typing import NDArray
from PIL import Image

from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import Session
from photon_triage.core.simulate.tomo import CLASSES, CORROSION, IMPLANT, TomoRun
from photon_triage.core.training.evaluation.pixel_losses import LOSSES, LossName
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.segmentation.weak_rounds import WeakJob, WeakRound, run_weak_round

SIZE = 256
CLEAN_RUNS = (100, 101, 102, 103)
WAYS = ("worst", "random")


@dataclass(frozen=True)
class Plan:
    """How much: doubtful slices, rounds after the first, masks corrected in each, batches of a training."""

    slices: int
    rounds: int
    corrected: int
    iterations: int
    loss: LossName = "bootstrapped"


@dataclass(frozen=True, eq=False)
class Slices:
    """A folder with images, masks and the true masks, and which of the masks were spoilt."""

    folder: Path
    spoilt: tuple[str, ...]


def spoilt(mask: NDArray[np.uint8], kind: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask as a hurried hand or a failed threshold leaves it."""
    if kind == 0:  # Moved, and every class but the background swollen over it.
        moved = np.roll(mask, tuple(rng.choice([-12, -9, 9, 12], 2)), (0, 1))
        return np.maximum.reduce([np.roll(moved, shift, axis) for axis in (0, 1) for shift in range(-3, 4)])
    if kind == 1:  # Corrosion taken for implant.
        return np.where(mask == CORROSION, np.uint8(IMPLANT), mask)
    holes = mask.copy()  # Nothing drawn in half of the slice.
    holes[:, : SIZE // 2] = 0
    return holes


def write(folder: Path, runs: list[int], seed: int, *, spoil: bool) -> Slices:
    """A slice of each run; of every second one the mask is spoilt, if so wished."""
    rng = np.random.default_rng(seed)
    names = []
    for name in ("images", "masks", "truth"):
        (folder / name).mkdir(parents=True)
    for number, run in enumerate(runs):
        pixels, truth = TomoRun(seed, run, SIZE).frame(int(rng.integers(40)))
        wrong = spoil and number % 2 == 1
        mask = spoilt(truth.classes, number // 2 % 3, rng) if wrong else truth.classes
        name = f"{number:03}"
        names += [name] if wrong else []
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
        Image.fromarray(truth.classes).save(folder / "truth" / f"{name}.png")
    return Slices(folder, tuple(names))


def one_round(session: Session, weak: Slices, clean: Slices, corrected: Path, plan: Plan, seed: int) -> WeakRound:
    """Train on what is there now."""
    network = NetworkJob(
        session, network="msd", options={"depth": 16}, images=(weak.folder / "images",), masks=(weak.folder / "masks",),
        classes=CLASSES, iterations=plan.iterations, crop=128, loss=plan.loss, seed=seed, device="cpu",
    )  # fmt: skip
    job = WeakJob(network, (clean.folder / "images",), (clean.folder / "truth",), corrected, plan.corrected)
    return run_weak_round(job)


def rounds(way: str, workspace: Path, weak: Slices, clean: Slices, plan: Plan, seed: int) -> list[dict[str, Any]]:
    """The rounds of one way to choose what is corrected."""
    session = Session.create(workspace / way, recipe_text("tomo"), "tomo")
    corrected, rng = workspace / f"corrected-{way}", np.random.default_rng([seed, 1])
    corrected.mkdir()
    found = []
    for number in range(plan.rounds + 1):
        done = one_round(session, weak, clean, corrected, plan, seed)
        left = [each.name for each in done.ranked]
        chosen = left if way == "worst" else rng.permutation(left).tolist()
        chosen = chosen[: plan.corrected] if number < plan.rounds else []
        already = done.record["corrected"]
        found.append(
            {
                "round": number + 1,
                "f1": done.record["f1"],
                "corrected": len(already),
                "of_them_spoilt": sum(name in weak.spoilt for name in already),
                "ranking": _found_first(left, [name for name in weak.spoilt if name in left]),
            }
        )
        for name in chosen:
            (corrected / f"{name}.png").write_bytes((weak.folder / "truth" / f"{name}.png").read_bytes())
    return found


def _found_first(ranked: list[str], wrong: list[str]) -> float | None:
    """The share of spoilt masks among as many of the most doubtful ones as there are; None where none is left."""
    return sum(name in wrong for name in ranked[: len(wrong)]) / len(wrong) if wrong else None


def compared(seed: int, plan: Plan, losses: tuple[LossName, ...]) -> dict[str, Any]:
    """Both ways from the same masks, and the losses on the masks as they are."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        weak = write(workspace / "weak", list(range(plan.slices)), seed, spoil=True)
        clean = write(workspace / "clean", list(CLEAN_RUNS), seed, spoil=False)
        found: dict[str, Any] = {"seed": seed, "slices": plan.slices, "spoilt": len(weak.spoilt)}
        for way in WAYS:
            found[way] = rounds(way, workspace, weak, clean, plan, seed)
        found["losses"] = {}
        for loss in losses:
            session = Session.create(workspace / loss, recipe_text("tomo"), "tomo")
            (workspace / f"corrected-{loss}").mkdir()
            as_they_are = Plan(plan.slices, 0, 0, plan.iterations, loss)
            done = one_round(session, weak, clean, workspace / f"corrected-{loss}", as_they_are, seed)
            left = [each.name for each in done.ranked]
            found["losses"][loss] = {"f1": done.record["f1"], "ranking": _found_first(left, list(weak.spoilt))}
    return found | {"seconds": time.perf_counter() - began}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 slices, 2 rounds of 2 corrections, one seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--corrected", type=int, default=4, help="masks in each round")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--no-losses", action="store_true", help="do not compare losses")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    plan = Plan(options.slices, options.rounds, options.corrected, options.iterations)
    seeds = options.seeds
    if options.quick:
        plan, seeds = Plan(12, 2, 2, 150), 1
    found = []
    for seed in range(seeds):
        found.append(compared(seed, plan, () if options.no_losses else LOSSES))
        print(f"seed {seed}: {found[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
    report = {"machine": machine(), "threads": torch.get_num_threads(), "plan": vars(plan), "seeds": found}
    if options.json:
        print(json.dumps(report, indent=2))  # noqa: T201
        return
    print("\n".join(_lines(found)))  # noqa: T201


def _lines(found: list[dict[str, Any]]) -> list[str]:
    lines = [f"F1 on clean slices, mean of {len(found)} seeds ({', '.join(str(each['seed']) for each in found)})"]
    for way in WAYS:
        for number in range(len(found[0][way])):
            each = [seed[way][number] for seed in found]
            f1 = [one["f1"] for one in each]
            lines.append(
                f"{way:<7} round {number + 1}: F1 {np.mean(f1):.3f} ({min(f1):.3f} to {max(f1):.3f}), "
                f"{np.mean([one['corrected'] for one in each]):.1f} corrected, "
                f"{np.mean([one['of_them_spoilt'] for one in each]):.1f} of them spoilt"
            )
    for loss in found[0]["losses"]:
        each = [seed["losses"][loss] for seed in found]
        f1 = [one["f1"] for one in each]
        lines.append(
            f"{loss:<13} on the masks as they are: F1 {np.mean(f1):.3f} ({min(f1):.3f} to {max(f1):.3f}); "
            f"{np.mean([one['ranking'] for one in each]):.0%} of the most doubtful half are spoilt"
        )
    return lines


if __name__ == "__main__":
    main()
