"""YOLOv2's frames a second and MS-D on a large frame on a GPU, beside what its arithmetic and its memory allow.

The device's peaks are measured, not looked up: the arithmetic of a large matrix product, the bytes of a large copy.
From these follow two times that a network needs at least, one for its multiply-accumulates, one for the bytes that it
must move; `share` is the larger of them as a part of the time that it took.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from measure import gpu_memory
from rich.console import Console
from rich.table import Table

from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.inference.precision import Precision
from photon_triage.models.inference.runtime import prepare_for_inference
from photon_triage.models.msd import MSDNet

BATCHES = (1, 4, 16, 64, 128, 256)

BYTES: dict[Precision, int] = {"float32": 4, "bfloat16": 2}

LARGE = 2560
"""Pixels a side of the frame for MS-D."""


@dataclass(frozen=True)
class Peaks:
    """Measured: operations a second of matrix products, a multiply-accumulate being two, and bytes a second of a copy.

    The bytes are those read and those written. The float32 products are full ones, as torch computes them unless told
    otherwise; kernels that use tensor cores in float32 can be faster.
    """

    float32: float
    bfloat16: float
    copy: float

    def operations(self, precision: str) -> float:
        """Operations a second in a precision."""
        return self.bfloat16 if precision == "bfloat16" else self.float32


@dataclass(frozen=True)
class Figure:
    """One network on the GPU; see the module for `arithmetic_s`, `memory_s` and `share`."""

    title: str
    precision: str
    batch: int
    best_s: float
    frames_per_s: float
    arithmetic_s: float
    memory_s: float
    share: float
    peak_bytes: int


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The best time of `repeats` runs by the GPU's clock, after three that do not count."""
    for _ in range(3):
        run()
    times: list[float] = []
    for _ in range(repeats):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        run()
        ended.record()
        ended.synchronize()
        times.append(float(began.elapsed_time(ended)) / 1e3)
    return min(times)


def measured_peaks(device: torch.device) -> Peaks:
    """What the device does at best in a matrix product of 8192 x 8192 and a copy of 1 GiB."""
    side, found = 8192, []
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.randn(side, side, device=device, dtype=kind)
        found.append(2 * side**3 / seconds(functools.partial(torch.mm, matrix, matrix), 10))
    source = torch.empty(2**28, device=device)
    target = torch.empty_like(source)
    return Peaks(found[0], found[1], 2 * source.nbytes / seconds(lambda: target.copy_(source), 10))


def measure(groups: Sequence[str], quick: bool) -> dict[str, Any]:
    """The figures of the groups that have some here, as they are printed and written."""
    device = torch.device("cuda")
    peaks = measured_peaks(device)
    figures: list[Figure] = []
    if "yolo" in groups:
        figures += yolo(device, peaks, BATCHES[:3] if quick else BATCHES)
    if "msd" in groups:
        figures += [msd(device, peaks, precision, 512 if quick else LARGE) for precision in BYTES]
    return {"how": __doc__, "peaks": asdict(peaks), "figures": [asdict(figure) for figure in figures]}


def yolo(device: torch.device, peaks: Peaks, batches: Sequence[int]) -> list[Figure]:
    """YOLOv2 at 416x416 in bfloat16, in batches as recorded CUDA graphs; frames lie on the GPU already."""
    model = Darknet.from_cfg("yolov2-seeds").eval()
    figures = []
    for batch in batches:
        call = prepare_for_inference(model, device, dtype="bfloat16", batch_size=batch)
        frames = torch.rand(batch, 3, 416, 416, device=device)
        macs = 1e9 * model.gmac() * batch
        # Each layer reads its input and its weights and writes its output once.
        values = sum(_numel(row.input_shape) + _numel(row.output_shape) for row in model.layer_table() if row.gmac)
        moved = BYTES["bfloat16"] * (model.parameter_count() + batch * values)
        figures.append(
            _figure("YOLOv2, 416x416", "bfloat16", batch, functools.partial(call, frames), macs, moved, peaks)
        )
        del call, frames
        torch.cuda.empty_cache()
    return figures


def msd(device: torch.device, peaks: Peaks, precision: Precision, side: int) -> Figure:
    """MS-D with 100 layers on one frame."""
    model = MSDNet(depth=100, in_channels=1, out_channels=2).eval()
    call = prepare_for_inference(model, device, dtype=precision)
    frames = torch.rand(1, 1, side, side, device=device)
    # Every map is written once, and read at least once.
    moved = BYTES[precision] * 2 * model.layout.channels * side**2
    title = f"MS-D, 100 layers, {side}x{side}"
    return _figure(title, precision, 1, functools.partial(call, frames), model.macs(side, side), moved, peaks)


def show(console: Console, found: dict[str, Any]) -> None:
    """The figures as a table, behind the device's peaks."""
    peaks = found["peaks"]
    console.print(
        f"GPU, measured: {peaks['float32'] / 1e12:.1f} · 10¹² operations/s in float32, "
        f"{peaks['bfloat16'] / 1e12:.1f} in bfloat16, {peaks['copy'] / 1e12:.2f} · 10¹² bytes/s."
    )
    table = Table(title="On the GPU", title_justify="left")
    for heading in (
        "",
        "precision",
        "batch",
        "best",
        "frames/s",
        "arithmetic",
        "memory",
        "of the limit",
        "peak memory",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    for figure in found["figures"]:
        times = (f"{1e3 * figure[key]:.2f} ms" for key in ("arithmetic_s", "memory_s"))
        table.add_row(
            figure["title"],
            figure["precision"],
            str(figure["batch"]),
            f"{1e3 * figure['best_s']:.2f} ms",
            f"{figure['frames_per_s']:.0f}",
            *times,
            f"{figure['share']:.0%}",
            f"{figure['peak_bytes'] / 2**20:.0f} MiB",
        )
    console.print(table)


def _figure(
    title: str, precision: str, batch: int, run: Callable[[], Any], macs: float, moved: float, peaks: Peaks
) -> Figure:
    peak = gpu_memory(run)
    best = seconds(run, 20)
    arithmetic, memory = 2 * macs / peaks.operations(precision), moved / peaks.copy
    share = max(arithmetic, memory) / best
    return Figure(title, precision, batch, best, batch / best, arithmetic, memory, share, peak)


def _numel(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]
