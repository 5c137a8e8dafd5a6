"""How fast the networks are, and how much memory they take, beside other ways to compute the same.

In one run, on one machine: YOLOv2 at 416x416 and YOLOv3 at 608x608 against OpenCV, onnxruntime and plain torch; the
LeNet patch classifier in its dense form against batches of patches, and inside a mask; the MS-D network against two
plain forms; U-Net against plain torch. With a GPU, also YOLOv2's frames a second and MS-D on 2560x2560 pixels, beside
what the device's arithmetic and memory allow.

All ways of a comparison run in turn, so that what else the machine does falls on each of them; what counts is ratios.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import baselines
import gpu
import torch
from measure import (
    MEMORY,
    Build,
    Case,
    Comparison,
    Memory,
    Run,
    SkippedCase,
    compare,
    in_child,
    machine,
    memory_of,
)
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.inference.precision import Precision, bfloat16_refusal
from photon_triage.models.inference.runtime import prepare_for_inference
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.unet import UNet

CPU = torch.device("cpu")

PATCH = 50
"""Pixels a side of LeNet's patches."""


@functools.cache
def darknet(name: str) -> Darknet:
    """The network with random weights, the same in every process."""
    torch.manual_seed(0)
    return Darknet.from_cfg(name).eval()


@functools.cache
def lenet() -> LeNetPatch:
    """The published LeNet for 50x50 patches."""
    torch.manual_seed(0)
    return LeNetPatch(patch=PATCH).eval()


@functools.cache
def msd() -> MSDNet:
    """An MS-D network of 100 layers, with numbers in the last one, which begins at 0, so that outputs can differ."""
    torch.manual_seed(0)
    model = MSDNet(depth=100, in_channels=1, out_channels=2).eval()
    with torch.no_grad():
        model.final_weight.normal_()
    return model


@functools.cache
def unet() -> UNet:
    """The published U-Net."""
    torch.manual_seed(0)
    return UNet(in_channels=1, out_channels=2).eval()


def frame(channels: int, side: int) -> Tensor:
    """One frame of random values, the same in every process."""
    return torch.rand(1, channels, side, side, generator=torch.Generator().manual_seed(1))


def ours(model: Callable[[], nn.Module], batch: Tensor, precision: Precision = "float32") -> Build:
    """The network as the package runs it; skipped where this processor cannot compute in the precision."""

    def build(folder: Path) -> Run:
        if precision == "bfloat16" and (reason := bfloat16_refusal(CPU)):
            raise SkippedCase(reason)
        call = prepare_for_inference(model(), CPU, dtype=precision)
        return lambda: call(batch)

    return build


def dense(frames: Tensor, share: float | None = None) -> Build:
    """The patch classifier's dense form, everywhere or inside a mask that is true for a `share` of the positions."""

    def build(folder: Path) -> Run:
        model = lenet().fused()
        positions = (1, *(extent - PATCH + 1 for extent in frames.shape[2:]))
        mask = None if share is None else _blobs(positions, share)
        return torch.inference_mode()(lambda: model.dense(frames, mask))

    return build


def _blobs(shape: tuple[int, ...], share: float) -> Tensor:
    """A mask in one piece or few: what of a smooth random map is highest."""
    coarse = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    smooth = torch.nn.functional.interpolate(coarse, shape[1:], mode="bicubic")[0]
    return smooth >= smooth.flatten().kthvalue(round((1 - share) * smooth.numel())).values


def yolo(quick: bool) -> list[Comparison]:
    """Both networks at their published sizes, batch 1; quick leaves YOLOv3 out."""
    networks = (("yolov2-416", "yolov2-seeds", 416), ("yolov3-608", "yolov3-1class", 608))
    return [_yolo(*network) for network in networks[: 1 if quick else 2]]


def _yolo(key: str, name: str, side: int) -> Comparison:
    model, image = functools.partial(darknet, name), frame(3, side)
    with torch.device("meta"):
        gmac = Darknet.from_cfg(name).gmac()
    cases = (
        Case("ours", "ours, float32", ours(model, image)),
        Case("ours-bfloat16", "ours, bfloat16", ours(model, image, "bfloat16")),
        Case("opencv", "OpenCV", baselines.opencv(name, model, image)),
        Case("onnxruntime", "onnxruntime", baselines.onnxruntime(name, model, image)),
        Case("torch", "plain torch", baselines.plain(model, image)),
    )
    return Comparison(key, f"YOLO{name[4:6]}, one class, {side}x{side}, batch 1", gmac, cases)


def lenet_forms(quick: bool) -> list[Comparison]:
    """The dense form against patches, of which some rows are timed and counted for all, and inside a mask."""
    small, large = frame(1, 80), frame(1, 256 if quick else 512)
    return [
        Comparison(
            "lenet-exact",
            f"LeNet, 50x50 patches at every position of {small.shape[-1]}x{small.shape[-1]}",
            lenet().macs(*small.shape[2:]) / 1e9,
            (
                Case("ours", "ours, dense", dense(small)),
                Case("patches", "batches of 256 patches", baselines.patch_by_patch(lenet, PATCH, small)),
            ),
        ),
        Comparison(
            "lenet-patches",
            f"LeNet, 50x50 patches at every position of {large.shape[-1]}x{large.shape[-1]}",
            lenet().macs(*large.shape[2:]) / 1e9,
            (
                Case("ours", "ours, dense", dense(large)),
                _patches("patches", "batches of 256 patches, every 16th row", large, 256, 16),
                _patches("patch", "one patch after the other, every 64th row", large, 1, 64),
            ),
        ),
        Comparison(
            "lenet-mask",
            f"LeNet, dense on {large.shape[-1]}x{large.shape[-1]}",
            None,
            (
                Case("ours", "ours, dense", dense(large)),
                Case("ours-mask", "ours, in a mask of 5 %", dense(large, 0.05)),
            ),
        ),
    ]


def _patches(key: str, title: str, frames: Tensor, together: int, step: int) -> Case:
    rows = frames.shape[2] - PATCH + 1
    build = baselines.patch_by_patch(lenet, PATCH, frames, together, step)
    return Case(key, title, build, share=len(range(0, rows, step)) / rows)


def msd_forms(quick: bool) -> list[Comparison]:
    """100 layers against the plain forms; all borders are mirrored."""
    side = 256 if quick else 512
    batch = frame(1, side)
    return [
        Comparison(
            "msd-100",
            f"MS-D, 100 layers, {side}x{side}",
            msd().macs(side, side) / 1e9,
            (
                Case("ours", "ours, float32", ours(msd, batch)),
                Case("one-buffer", "layer by layer, one buffer", baselines.msd_in_one_buffer(msd, batch)),
                Case("concatenation", "layer by layer, torch.cat", baselines.msd_by_concatenation(msd, batch)),
            ),
        )
    ]


def unet_forms(quick: bool) -> list[Comparison]:
    """The published U-Net against the plain module."""
    side = 256 if quick else 512
    batch = frame(1, side)
    return [
        Comparison(
            "unet",
            f"U-Net, base 64, {side}x{side}",
            unet().macs(side, side) / 1e9,
            (
                Case("ours", "ours, float32", ours(unet, batch)),
                Case("ours-bfloat16", "ours, bfloat16", ours(unet, batch, "bfloat16")),
                Case("torch", "plain torch", baselines.plain_unet(unet, batch)),
            ),
        )
    ]


GROUPS: dict[str, Callable[[bool], list[Comparison]]] = {
    "yolo": yolo,
    "lenet": lenet_forms,
    "msd": msd_forms,
    "unet": unet_forms,
}
"""The comparisons, by what `--only` calls them."""


def memory(group: str, comparison: str, case: str, quick: bool, threads: int, folder: Path) -> Memory:
    """The memory of one case; meant for a process of its own."""
    torch.set_num_threads(threads)
    # The libraries' own code and threads are not the computation's memory.
    torch.nn.functional.conv2d(torch.rand(1, 8, 32, 32), torch.rand(8, 8, 3, 3)).sum().item()
    found = next(c for c in GROUPS[group](quick) if c.key == comparison)
    chosen = next(c for c in found.cases if c.key == case)
    return memory_of(chosen, folder)


def measure(group: str, quick: bool, rounds: int, folder: Path) -> list[dict[str, Any]]:
    """The comparisons of a group, as they are printed and written."""
    reports = []
    for comparison in GROUPS[group](quick):
        arguments = (memory, group, comparison.key)
        with Console(stderr=True).status(f"{comparison.title}: {len(comparison.cases)} ways in turn"):
            measured = compare(
                comparison,
                rounds,
                folder,
                lambda case, known=arguments: in_child(  # type: ignore[misc]
                    *known, case, quick, torch.get_num_threads(), folder
                ),
            )
        reports.append(
            {
                "key": comparison.key,
                "title": comparison.title,
                "gmac": comparison.gmac,
                "cases": [asdict(case) for case in measured],
            }
        )
        for made in (darknet, lenet, msd, unet):
            made.cache_clear()
        gc.collect()
    return reports


def show(console: Console, report: dict[str, Any]) -> None:
    """One comparison as a table."""
    work = "" if report["gmac"] is None else f", {report['gmac']:.2f} GMAC"
    table = Table(title=report["title"] + work, title_justify="left")
    for heading in ("", "best s", "median s", "CPU s", "runs", "times ours", "GMAC/s", "MiB", "in all", "difference"):
        table.add_column(heading, justify="left" if not heading else "right")
    for case in report["cases"]:
        if case["skipped"]:
            table.add_row(case["title"], "skipped")
            continue
        rate = "" if report["gmac"] is None else f"{report['gmac'] / case['best_s']:.1f}"
        memory_used = ("" if case[key] is None else f"{case[key] / 2**20:.0f}" for key in ("peak_bytes", "total_bytes"))
        difference = "" if case["difference"] is None else f"{case['difference']:.1e}"
        table.add_row(
            case["title"],
            f"{case['best_s']:.4f}",
            f"{case['median_s']:.4f}",
            f"{case['cpu_s']:.4f}",
            str(case["runs"]),
            f"{case['ratio']:.2f}",
            rate,
            *memory_used,
            difference,
        )
    console.print(table)
    for case in report["cases"]:
        if case["skipped"]:
            console.print(f"{case['title']}: skipped, {case['skipped']}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="smaller frames, two rounds, without YOLOv3")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, help="timed runs of each case")
    parser.add_argument("--threads", type=int, help="threads of each case; default: torch's")
    options = parser.parse_args(arguments)
    groups = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown or not groups:
        parser.error(f"--only: expected some of {','.join(GROUPS)}, got {options.only!r}")
    if min(options.rounds or 1, options.threads or 1) < 1:
        parser.error("--rounds and --threads: expected 1 and above")
    if options.threads:
        torch.set_num_threads(options.threads)
    rounds = options.rounds or (2 if options.quick else 5)
    console = Console(width=None if sys.stdout.isatty() else 120)
    found: dict[str, Any] = {
        "machine": machine(),
        "settings": {"quick": options.quick, "rounds": rounds, "only": groups},
        "memory": MEMORY,
        "comparisons": [],
        "gpu": None,
    }
    if not options.json:
        console.print(", ".join(f"{key} {value}" for key, value in found["machine"].items() if value is not None))
        console.print(
            "CPU: processor time of all threads. MiB: beyond what was held before the first computation; in all: with "
            "what building took. Difference: from ours, as a share of the largest value."
        )
    with tempfile.TemporaryDirectory(prefix="photon-triage-benchmark-") as folder:
        for group in groups:
            for report in measure(group, options.quick, rounds, Path(folder)):
                found["comparisons"].append(report)
                if not options.json:
                    show(console, report)
    if torch.cuda.is_available():
        found["gpu"] = gpu.measure(groups, options.quick)
        if not options.json:
            gpu.show(console, found["gpu"])
    if options.json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
