"""How many frames a second the cascade keeps up with: simulated files, scanned as an operator would.

Prints, for a beamtime with 5 % hits and for one with the published make-up, frames a second of the engine and the ratio
to 120 a second; then the stages one by one in this process, on the same frames, with one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MAKE_UPS = {"5 % hits": 0.95, "published make-up": 0.25}
WANTED_HZ = 120


def scan(folder: Path, format: str, blanks: float, frames: int) -> dict[str, Any]:
    """Simulate and scan; what `scan --json` says."""
    command = [sys.executable, "-P", "-m", "photon_triage.tui"]
    data = folder / "data"
    options = ["--frames", frames, "--runs", 2, "--rate", 0, "--seed", 9, "--blanks", blanks, "--format", format]
    subprocess.run([*command, "simulate", "spi", data, "--quiet", *map(str, options)], check=True)
    done = subprocess.run(
        [*command, "scan", data, "--recipe", "spi", "--session", folder / "session", "--json"],
        check=True,
        stdout=subprocess.PIPE,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def stages(folder: Path, frames: int) -> dict[str, float]:
    """Milliseconds a frame of each stage, one thread, on frames that reach it."""
    import torch

    from photon_triage.core.frames import Batch, FrameKey
    from photon_triage.core.prepare import preparation_for
    from photon_triage.core.recipe import ClassifyStage, LitPixelsStage, SizeStage, load_recipe
    from photon_triage.core.session.models.catalog import find_model
    from photon_triage.core.sources import inspect, read_frames, read_mask
    from photon_triage.core.stages.classify import Classify
    from photon_triage.core.stages.size import Size
    from photon_triage.core.stages.spots import LitPixels
    from photon_triage.models.darknet.detector import load_detector

    torch.set_num_threads(1)
    recipe = load_recipe("spi")
    info = inspect(next((folder / "data").glob("*.cxi")))
    began = time.perf_counter()
    raw = read_frames(info.path, info.dataset, 0, min(frames, info.frames))
    spent = {"read and decompress": 1e3 * (time.perf_counter() - began) / len(raw)}
    mask = read_mask(info)
    keys = tuple(FrameKey(info.path, info.dataset, index) for index in range(len(raw)))
    batch = Batch(keys, torch.from_numpy(raw), None if mask is None else torch.from_numpy(mask), info.geometry)
    roi = recipe.prepare.roi
    for table in recipe.stages:
        stage: LitPixels | Size | Classify
        if isinstance(table, LitPixelsStage):
            stage = LitPixels(table, roi)
        elif isinstance(table, SizeStage):
            stage = Size(table, roi)
        elif isinstance(table, ClassifyStage):
            detector = load_detector(find_model(table.model).path)
            network = detector.network
            preparation = preparation_for(recipe, network.input_size, network.in_channels)
            stage = Classify(table, detector, preparation, torch.device("cpu"))
        else:
            continue
        stage(batch)
        began = time.perf_counter()
        result = stage(batch)
        spent[f"{stage.name}, {len(batch)} frames"] = 1e3 * (time.perf_counter() - began) / len(batch)
        batch = batch.select(result.passed)
    return spent


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=2400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": f"{platform.processor() or platform.machine()}, {platform.platform()}"}
    for format in ("hdf5", "tiff"):
        for name, blanks in MAKE_UPS.items():
            with tempfile.TemporaryDirectory() as place:
                answer = scan(Path(place), format, blanks, arguments.frames)
                rate = answer["frames_per_second"]
                report[f"{format}, {name}"] = {"frames_per_second": rate, "ratio_to_120_hz": rate / WANTED_HZ}
                if format == "hdf5" and blanks < 0.5:
                    report["milliseconds_a_frame"] = stages(Path(place), 400)
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for name, value in report.items():
        sys.stdout.write(f"{name}: {json.dumps(value)}\n")


if __name__ == "__main__":
    main()
