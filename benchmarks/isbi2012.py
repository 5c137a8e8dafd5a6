"""MS-D against U-Net on the sections of the ISBI 2012 challenge: membranes in serial-section electron microscopy.

Networks learn from sections 0 to 23 and are scored on sections 24 to 29, of which the first is the neighbour of the
last one learned from. No section chooses a checkpoint: what remains in the end is scored. Reported are the pixel error,
and V_rand and V_info (Arganda-Carreras et al. 2015), the best over thresholds as in the challenge.

On a CPU each network has the same processor time (--seconds), and the faster ones are trained once more for as many
batches as the largest had. `--full` trains for --iterations batches each, for which a GPU is needed in practice.

The images are looked for in --data, else in `isbi2012` of $PHOTON_TRIAGE_DATA, else of ../shared/data: folders `image`
and `label` with a PNG a section, 0 on membranes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import machine
from partitions import best_partition_scores

from photon_triage.core.training.data.classes import class_maps
from photon_triage.core.training.data.images import normalisation_from, normalised, read_examples
from photon_triage.core.training.tasks.segmentation.segmentation import Mapped, SegmentationPlan, train_segmenter
from photon_triage.core.training.tasks.segmentation.segmenter_job import RATE
from photon_triage.models.common.registry import create
from photon_triage.models.inference.precision import best_device
from photon_triage.models.nets.segmenter import Segmenter

TRAINING, TEST = slice(0, 24), slice(24, 30)
CLASSES = ("membrane", "cell")
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MS-D, depth 100": ("msd", {"depth": 100}),
    "U-Net, base 64": ("unet", {}),
    "U-Net, base 16": ("unet", {"width": 16}),
}
LARGEST = "U-Net, base 64"
WARMING = 3
"""Batches that tell how long one takes, of a network that is thrown away."""


@dataclass(frozen=True)
class Run:
    """One training: a network, for processor seconds or for batches."""

    network: str
    seconds: float | None
    iterations: int | None
    crop: int
    seed: int
    device: str


def learned(run: Run, data: Path) -> dict[str, Any]:
    """Train a network in this process and score it on the test sections."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    training, test = (_sections(data, only) for only in (TRAINING, TEST))
    iterations = run.iterations or _batches_in(run, training)
    segmenter, steps = _training(run, training, iterations)
    began, processor_began, loss = time.perf_counter(), time.process_time(), float("nan")
    for step in steps:
        loss = step.loss
    seconds, processor = time.perf_counter() - began, time.process_time() - processor_began
    on_gpu = run.device.startswith("cuda")
    memory = torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "network": run.network,
        "parameters": segmenter.network.parameter_count(),
        "batches": iterations,
        "crop": run.crop,
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_bytes": memory,
        "loss": loss,
        "seed": run.seed,
        **_scores(segmenter, test, torch.device(run.device)),
    }


def _sections(data: Path, only: slice) -> list[Mapped]:
    examples = read_examples([data / "image"], [data / "label"], only=only)
    maps, _ = class_maps(examples, CLASSES)
    return [Mapped(example.image, found) for example, found in zip(examples, maps, strict=True)]


def _training(run: Run, training: list[Mapped], iterations: int) -> tuple[Segmenter, Any]:
    torch.manual_seed(run.seed)
    family, options = NETWORKS[run.network]
    network = create(family, in_channels=1, out_channels=len(CLASSES), **options)
    segmenter = Segmenter(network, CLASSES, normalisation_from([each.image for each in training]))
    plan = SegmentationPlan(iterations, 1, RATE[family], run.crop, checks=1, seed=run.seed)
    # The only check comes after the last batch, so that a section of the training set chooses nothing.
    return segmenter, train_segmenter(segmenter, training, training[:1], plan, torch.device(run.device))


def _batches_in(run: Run, training: list[Mapped]) -> int:
    """How many batches take the seconds of processor time, on a GPU of time."""
    clock = time.perf_counter if run.device.startswith("cuda") else time.process_time
    _, steps = _training(run, training, WARMING + 1)
    next(steps)
    began = clock()
    for _ in range(WARMING - 1):
        next(steps)
    return max(1, round(float(run.seconds or 0) * (WARMING - 1) / (clock() - began)))


@torch.inference_mode()
def _scores(segmenter: Segmenter, test: list[Mapped], device: torch.device) -> dict[str, Any]:
    network, membrane = segmenter.network.eval(), CLASSES.index("membrane")
    truth = [each.classes == membrane for each in test]
    likely = [
        torch.softmax(network(normalised(each.image, segmenter.input)[None, None].to(device)), 1)[0, membrane]
        .cpu()
        .numpy()
        for each in test
    ]
    said = np.stack(likely) >= 0.5
    true = np.stack(truth)
    rand, information = best_partition_scores(truth, likely)
    hits = int((said & true).sum())
    return {
        "pixel_error": float((said != true).mean()),
        "all_cell_pixel_error": float(true.mean()),
        "membrane_f1": 2 * hits / max(1, int(said.sum() + true.sum())),
        "v_rand": rand[0],
        "v_rand_threshold": rand[1],
        "v_info": information[0],
        "v_info_threshold": information[1],
    }


def in_new_process(run: Run, data: Path) -> dict[str, Any]:
    """The same in a process of its own, whose peak memory is that of this training."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(learned, run, data).result()
    print(_line(found), file=sys.stderr, flush=True)  # noqa: T201
    return found


def compared(options: argparse.Namespace, data: Path) -> dict[str, list[dict[str, Any]]]:
    """All trainings: after equal time and after equal batches, or after --iterations of each."""
    shared = (options.crop, options.seed, str(best_device(options.device)))
    if options.full:
        whole = [Run(name, None, options.iterations, *shared) for name in NETWORKS]
        return {"equal batches": [in_new_process(run, data) for run in whole]}
    timed = [in_new_process(Run(name, options.seconds, None, *shared), data) for name in NETWORKS]
    count = next(found["batches"] for found in timed if found["network"] == LARGEST)
    others = [Run(name, None, count, *shared) for name in NETWORKS if name != LARGEST]
    again = [in_new_process(run, data) for run in others]
    equal = sorted(again + [each for each in timed if each["network"] == LARGEST], key=lambda each: each["parameters"])
    return {"equal time": timed, "equal batches": equal}


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with `image` and `label`")
    parser.add_argument("--seconds", type=float, default=600, help="of processor time for each network")
    parser.add_argument("--quick", action="store_true", help="20 seconds each, crops of 128")
    parser.add_argument("--full", action="store_true", help="train each for --iterations, on a GPU")
    parser.add_argument("--iterations", type=int, default=30_000, help="batches of --full")
    parser.add_argument("--crop", type=int, default=256, help="side of the crops, batches are of one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.crop = 20, 128
    root = Path(os.environ.get("PHOTON_TRIAGE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    data = options.data or root / "isbi2012"
    if not (data / "image").is_dir():
        print(f"Skipped: no sections at {data}; give --data, or set PHOTON_TRIAGE_DATA.")  # noqa: T201
        return
    report = {"machine": machine(), "training": "sections 0-23", "test": "sections 24-29", **compared(options, data)}
    if options.json:
        print(json.dumps(report, indent=2))  # noqa: T201
        return
    for title in ("equal time", "equal batches"):
        if title in report:
            print(f"\nafter {title}:\n" + "\n".join(map(_line, report[title])))  # noqa: T201


def _line(found: dict[str, Any]) -> str:
    return (
        f"{found['network']:<16} {found['parameters']:>10,} parameters  {found['batches']:>6} batches  "
        f"{found['processor_seconds']:6.0f} s of processor  {found['peak_bytes'] / 2**20:6.0f} MiB  "
        f"pixel error {found['pixel_error']:.4f}  membrane F1 {found['membrane_f1']:.3f}  "
        f"V_rand {found['v_rand']:.4f}  V_info {found['v_info']:.4f}"
    )


if __name__ == "__main__":
    main()
