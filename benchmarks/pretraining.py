"""Whether pre-training without labels helps where labels are few, on simulated beamtimes.

Two beamtimes are simulated (seeds --seed and --seed + 1), scanned with the recipe `spi-presort`, and their truth is
imported. hitnet is pre-trained on the first one's frames. Then it is trained on so many of their labels (drawn at
random, single hits as often as the simulation has them, but at least LEAST of either kind), from random weights and
from the pre-trained ones, with the same labels, batches and rate. What both say of all frames of the second beamtime
that reach the network is held against its truth, each at its own best threshold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measure import machine

from photon_triage.core.metrics import best_threshold, confusion_at
from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.examples import Examples, gather
from photon_triage.core.training.model.initial_weights import initialise
from photon_triage.core.training.tasks.detector.config import CLASSES
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, score, train
from photon_triage.core.training.tasks.detector.pretraining import PretrainingJob, run_pretraining
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector
from photon_triage.models.inference.precision import best_device

COMMAND = [sys.executable, "-P", "-m", "photon_triage.tui"]
LEAST, RATE = 4, 1e-3


def beamtime(folder: Path, frames: int, seed: int) -> Session:
    """A scanned beamtime with the truth of every frame."""
    session = folder.with_suffix(".session")
    for arguments in (
        ["simulate", "spi", folder, "--frames", frames, "--runs", 4, "--seed", seed, "--rate", 0, "--quiet"],
        ["scan", folder, "--recipe", "spi-presort", "--session", session, "--quiet"],
        ["labels", "import", session, folder / "truth.csv"],
    ):
        subprocess.run([*COMMAND, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return Session.open(session)


def few(examples: Examples, count: int, seed: int) -> Examples:
    """So many of them at random, at least LEAST of either kind."""
    order = np.random.default_rng(seed).permutation(len(examples))
    positive = examples.positive[order]
    first = [order[positive][:LEAST], order[~positive][:LEAST]]
    rest = order[~np.isin(order, np.concatenate(first))][: max(count - 2 * LEAST, 0)]
    chosen = np.zeros(len(examples), bool)
    chosen[np.concatenate([*first, rest])] = True
    return examples.take(chosen)


def f1_after(
    init: str | None, models: Path, session: Session, learned: Examples, judged: Examples, iterations: int, seed: int
) -> float:
    """F1 on the judging examples, at the best threshold, of hitnet trained on the others."""
    torch.manual_seed(seed)
    network, device = Darknet.from_cfg("hitnet", norm_form="cuda"), best_device()
    if init is not None:
        initialise(network, init, models)
    preparation = preparation_for(session.recipe(), network.input_size, network.in_channels)
    detector = Detector(network, CLASSES)
    for _ in train(detector, preparation, learned, TrainingPlan(iterations, 32, RATE, seed=seed), device):
        pass
    scores = dict(zip(judged.keys, score(detector, preparation, judged, device).tolist(), strict=True))
    truth = dict(zip(judged.keys, judged.positive.tolist(), strict=True))
    threshold = best_threshold(scores, truth)
    return 0.0 if threshold is None else confusion_at(scores, truth, threshold).confusion.f1.value or 0.0


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """Pre-train, train with few labels, and print F1 with and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=6000, help="of either beamtime")
    parser.add_argument("--pretrain", type=int, default=600, help="batches of pre-training")
    parser.add_argument("--iterations", type=int, default=200, help="batches of each training")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 200])
    parser.add_argument("--repeats", type=int, default=3, help="draws of labels")
    parser.add_argument("--seed", type=int, default=61)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.quick:
        options.frames, options.pretrain, options.iterations, options.repeats = 1200, 80, 40, 2
        options.labels = [20, 100]
    with tempfile.TemporaryDirectory() as scratch:
        pool = beamtime(Path(scratch) / "pool", options.frames, options.seed)
        other = beamtime(Path(scratch) / "other", options.frames, options.seed + 1)
        began = time.monotonic()
        facts = run_pretraining(PretrainingJob(pool, name="pre", iterations=options.pretrain)).facts
        spent = time.monotonic() - began
        network = Darknet.from_cfg("hitnet")
        preparation = preparation_for(pool.recipe(), network.input_size, network.in_channels)
        everything, judged = gather(pool, preparation), gather(other, preparation)
        rows = []
        for count in options.labels:
            for repeat in range(options.repeats):
                learned = few(everything, count, repeat)
                pair = [
                    f1_after(init, pool.models_path, pool, learned, judged, options.iterations, repeat)
                    for init in (None, "pre")
                ]
                rows.append({"labels": count, "repeat": repeat, "random": pair[0], "pretrained": pair[1]})
                if not options.json:
                    say(f"{count:5d} labels, draw {repeat}: F1 {pair[0]:.3f} random, {pair[1]:.3f} pre-trained")
    place = {"machine": machine(), "device": str(best_device())}
    told = {"frames": facts["frames"], "loss": facts["loss"], "chance": facts["chance"], "pretraining_s": spent}
    if options.json:
        sys.stdout.write(json.dumps(place | told | {"rows": rows}, indent=2) + "\n")
        return
    say(f"{told['frames']} frames, loss {facts['loss']:.3f} (chance {facts['chance']:.3f}), {spent:.0f} s, {place}")


if __name__ == "__main__":
    main()
