"""The cryo-electron tomography recipe on real images: membranes and synapses in serial sections of a fly's nerve cord.

Trains an MS-D network for membranes and a LeNet for synapses on sections 0 to 13 by `photon-triage train`, scans
sections 14 to 19 with the recipe `cryoet`, and holds what stands in the session against the masks drawn by hand.

The images are those of Gerhard et al., "Segmented anisotropic ssTEM dataset of neural tissue", figshare (2013),
doi 10.6084/m9.figshare.856713, in a folder `vnc` with `raw`, `membranes` and `synapses` in it, which is looked for in
$PHOTON_TRIAGE_DATA, else in ../shared/data.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TRAINING, TEST = slice(0, 14), slice(14, 20)
COMMAND = [sys.executable, "-P", "-m", "photon_triage.tui"]


def run(*arguments: object) -> dict[str, Any]:
    """What a command of photon-triage prints as JSON."""
    done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"photon-triage {arguments[0]} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def train(session: Path, data: Path, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Both networks, registered in the session under the names that the recipe gives."""
    shared = [session, "--recipe", "cryoet", "--images", data / "raw", "--only", f"{TRAINING.start}:{TRAINING.stop}"]
    membranes = [
        "--model", "msd", "--option", f"depth={options.depth}", "--masks", data / "membranes",
        "--classes", "background,membrane", "--name", "membranes", "--iterations", options.iterations,
    ]  # fmt: skip
    synapses = [
        "--model", "lenet", "--masks", data / "synapses", "--within", data / "membranes",
        "--classes", "other,synapse", "--name", "particles", "--iterations", options.lenet_iterations,
    ]  # fmt: skip
    return {
        "membranes": run("train", *shared, *membranes, "--seed", options.seed),
        "synapses": run("train", *shared, *synapses, "--seed", options.seed),
    }


def judge(session: Path, data: Path) -> dict[str, Any]:
    """Pixels of membranes, and candidates against the synapses, on the sections that were scanned."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.data.objects import objects_in
    from photon_triage.core.training.evaluation.scoring import candidate_scores, judged, pixel_scores

    opened = Session.open(session)
    reader = opened.results()
    table = np.zeros((2, 2), np.int64)
    found, objects = [], []
    for row in sorted(reader.all_frames(), key=lambda row: row.key):
        name = Path(row.key.file).stem + ".png"
        mask = reader.mask(row.id)
        assert mask is not None
        truth = np.asarray(Image.open(data / "membranes" / name)) > 0
        np.add.at(table, (truth.astype(int).ravel(), (mask.values != mask.background).ravel().astype(int)), 1)
        found.append(reader.candidates(row.id))
        objects.append(objects_in(np.asarray(Image.open(data / "synapses" / name)) > 0))
    reader.close()
    count = sum(len(each) for each in objects)
    against = judged(found, objects)
    return {
        "membranes": pixel_scores(table, ("background", "membrane"), 0)["classes"]["membrane"],
        "synapses": {
            str(threshold): candidate_scores(against, count, threshold)
            for threshold in (opened.threshold(), 0.7, 0.8, 0.9, 0.95)
        },
    }


def main() -> None:
    """Train, scan, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=30, help="layers of the MS-D network")
    parser.add_argument("--iterations", type=int, default=600, help="batches for the membranes")
    parser.add_argument("--lenet-iterations", type=int, default=1200, help="batches for the synapses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--session", type=Path, help="keep the session in this new folder")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    root = Path(os.environ.get("PHOTON_TRIAGE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    data = root / "vnc"
    if not data.exists():
        sys.exit(f"No images at {data}: set PHOTON_TRIAGE_DATA to the folder that holds `vnc`.")
    with tempfile.TemporaryDirectory() as folder:
        session = options.session or Path(folder) / "session"
        trained = train(session, data, options)
        sections = [str(path) for path in sorted((data / "raw").glob("*.tif"))[TEST]]
        began = time.perf_counter()
        scanned = run("scan", *sections, "--session", session)
        seconds = time.perf_counter() - began
        report = {
            "machine": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)),
            "depth": options.depth,
            "training_seconds": {name: each["seconds"] for name, each in trained.items()},
            "sections": scanned["frames"],
            "scan_seconds": seconds,
            **judge(session, data),
        }
    if options.json:
        print(json.dumps(report, indent=2))  # noqa: T201
        return
    _say(report)


def _say(report: dict[str, Any]) -> None:
    lines = [
        f"training: {', '.join(f'{name} {seconds:.0f} s' for name, seconds in report['training_seconds'].items())}",
        f"scan: {report['sections']} sections of 1024 x 1024 in {report['scan_seconds']:.0f} s",
    ]
    pixels = report["membranes"]
    lines.append(
        f"membrane pixels: precision {pixels['precision']:.3f}, recall {pixels['recall']:.3f}, F1 {pixels['f1']:.3f}"
    )
    for threshold, scores in report["synapses"].items():
        shown = {
            name: "undefined" if scores[name] is None else f"{scores[name]:.2f} {_bounds(scores[f'{name}_interval'])}"
            for name in ("precision", "recall")
        }
        lines.append(
            f"synapse candidates from {threshold}: {scores['candidates']}, precision {shown['precision']}, "
            f"recall {shown['recall']} of {scores['n']}, F1 {scores['f1']:.2f}"
        )
    print("\n".join(lines))  # noqa: T201


def _bounds(interval: list[float]) -> str:
    return f"[{interval[0]:.2f}, {interval[1]:.2f}]"


if __name__ == "__main__":
    main()
