"""How F1 grows with labels: four orders of labelling, against random order and against a model trained on all truths.

A session with the embedded model scans a simulated beamtime of 20,000 frames, of which 5 to 6 % of what reaches the
network are single hits. An operator who knows the truth labels frames, as the queues propose them, with nothing but
accept and reject; after 50, 100, 200 and 400 labels `train` runs with its defaults, the queue is ordered anew by the
new model, and F1 is measured on another beamtime's runs. Random order draws from all frames with a score.

The same is asked of a beamtime with another drift: does the model trained from 200 labels beat the embedded one there?

Everything is kept in a folder: a second call goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from beamtimes import CPU, EMBEDDED, Beamtime, Scores, Seen, embedded, f1_difference, preparation_of
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.catalog import find_model, session_models
from photon_triage.core.session.session import Session
from photon_triage.core.training.loop.checkpoints import register
from photon_triage.core.training.tasks.detector.batchnorm_adaptation import images_of, statistics
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, train
from photon_triage.models.darknet.detector import Detector, load_detector

STRATEGIES = ("uncertain", "disagree", "score", "random")
WHAT = {"disagree": "disagreement", "score": "top score"}
FIRST = "uncertain"
"""What the queue of disagreement begins with, while there is one model only."""
EVERYTHING_RATE = 1e-3
TOLD = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Size:
    """How much is done.

    points: labels after which a model is trained. everything: batches of the training on all truths.
    """

    pool: Beamtime
    held: Beamtime
    validation: Beamtime
    drifted: Beamtime
    drifted_held: Beamtime
    points: tuple[int, ...]
    seeds: int
    everything: int
    iterations: int | None = None


FULL = Size(
    Beamtime("pool", 20_000, 10, 31),
    Beamtime("held", 12_000, 8, 32),
    Beamtime("validation", 3_000, 3, 33),
    Beamtime("drifted", 4_000, 4, 41, "strong"),
    Beamtime("drifted-held", 6_000, 6, 42, "strong"),
    (50, 100, 200, 400),
    seeds=3,
    everything=600,
)
QUICK = Size(
    Beamtime("quick-pool", 600, 2, 31),
    Beamtime("quick-held", 600, 2, 32),
    Beamtime("quick-validation", 300, 2, 33),
    Beamtime("quick-drifted", 400, 2, 41, "strong"),
    Beamtime("quick-drifted-held", 400, 2, 42, "strong"),
    (30, 60),
    seeds=1,
    everything=10,
    iterations=10,
)


class Study:
    """One folder with everything that was simulated, trained and measured."""

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder, self.size = folder, size
        self._lines = folder / f"{size.pool.name}.jsonl"
        self.held, self.validation = Seen(size.held, folder), Seen(size.validation, folder)

    def known(self) -> list[dict[str, Any]]:
        """What was measured so far."""
        text = self._lines.read_text(encoding="utf-8") if self._lines.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def curves(self, seeds: int, pool: Seen) -> None:
        """The embedded model, the one of all truths, and every order of labelling."""
        self._note("embedded", 0, 0, 0, self._judged(embedded(), self.held))
        self._everything(pool)
        for seed in range(seeds):
            for strategy in STRATEGIES:
                self._arm(strategy, seed, pool, self.held, self.size.points)

    def drift(self, seeds: int) -> None:
        """A beamtime with another drift: the embedded model, and those trained on labels from there."""
        pool, held = Seen(self.size.drifted, self._folder), Seen(self.size.drifted_held, self._folder)
        self._note("embedded, other drift", 0, 0, 0, self._judged(embedded(), held))
        measured = load_detector(find_model(EMBEDDED).path)
        images = images_of(pool.session, preparation_of(pool.session), CPU)
        measured.network.load_state_dict(statistics(measured.network, images), strict=False)
        self._note("batch-norms measured anew, other drift", 0, 0, 0, self._judged(measured, held))
        for seed in range(seeds):
            for strategy in (FIRST, "random"):
                self._arm(strategy, seed, pool, held, self.size.points, " of another drift")

    def _arm(self, strategy: str, seed: int, pool: Seen, held: Seen, points: Sequence[int], suffix: str = "") -> None:
        """Label, train, order anew: one strategy with one seed."""
        session = self._copied(pool.session, f"{strategy}-{seed}{suffix.replace(' ', '-')}")
        rng = np.random.default_rng(seed)
        fixed = rng.permutation(len(pool.examples))
        scores, labelled = pool.embedded, np.empty(0, np.intp)
        for number, count in enumerate(points):
            order = _order(strategy if number or strategy != "disagree" else FIRST, scores, pool, fixed)
            fresh = order[~np.isin(order, labelled)][: count - len(labelled)]
            labelled = np.concatenate([labelled, fresh])
            began = time.process_time()
            detector = self._trained(session, strategy, fresh, pool, count, seed)
            seconds = time.process_time() - began
            accepted = int(pool.examples.positive[labelled].sum())
            if not self._has(strategy + suffix, seed, count):
                result = self._judged(detector, held)
                self._note(strategy + suffix, seed, count, accepted, result | {"seconds": seconds})
            if strategy != "random" and count != points[-1]:
                scores = pool.scores(detector)

    def _trained(
        self, session: Session, queue: str, fresh: NDArray[np.intp], pool: Seen, count: int, seed: int
    ) -> Detector:
        """The model after so many labels, trained unless it is there.

        Where they cannot be learned from, as with accepted ones alone, it is still the embedded one.
        """
        name = f"after-{count}"
        if name not in session_models(session.models_path):
            self._label(session, queue, fresh, pool)
            job = TrainingJob(session, name, EMBEDDED, iterations=self.size.iterations, seed=seed, device="cpu")
            try:
                run_training(job)
            except TrainingError as error:
                TOLD.print(f"{session.path.name}, {count} labels: {error}")
                return embedded()
        return load_detector(session_models(session.models_path)[name].path)

    def _label(self, session: Session, queue: str, places: NDArray[np.intp], pool: Seen) -> None:
        """Accept or reject by the truth, as somebody at the screen would; without classes."""
        told = session.labels().labels
        journal = session.journal("operator")
        writer = LabelWriter(journal)
        writer.queue = "" if queue == "random" else queue
        for place in places.tolist():
            if (key := pool.examples.keys[place]) not in told:
                writer.decide(key, "accepted" if pool.examples.positive[place] else "rejected")
        journal.close()

    def _everything(self, pool: Seen) -> None:
        """The embedded model trained on with all truths, its checkpoint chosen on the validation runs."""
        if self._has("all truths", 0, len(pool.truth)):
            return
        models = self._folder / f"{pool.beamtime.name}-models"
        models.mkdir(exist_ok=True)
        if not session_models(models):
            detector, count = load_detector(find_model(EMBEDDED).path), self.size.everything
            plan = TrainingPlan(count, 32, EVERYTHING_RATE, frozen_norm=True, check_every=max(1, count // 6))
            examples = self.validation.examples
            for step in train(detector, preparation_of(pool.session), pool.examples, plan, CPU, examples):
                if step.f1 is not None:
                    TOLD.print(f"all truths, batch {step.done}: F1 {step.f1:.3f} on validation")
            facts = {"architecture": detector.network.architecture, "classes": list(detector.classes)}
            register(models, "all-truths", detector.network, facts)
        detector = load_detector(session_models(models)["all-truths"].path)
        accepted = sum(pool.truth.values())
        self._note("all truths", 0, len(pool.truth), accepted, self._judged(detector, self.held))

    def _judged(self, detector: Detector, held: Seen) -> dict[str, Any]:
        """F1 on held-out runs at the recipe's threshold, and at the best one of the validation runs."""
        scores, old = held.scores(detector), held.embedded
        threshold = self.validation.best_threshold(self.validation.scores(detector))
        own = held.confusion(scores, held.threshold)
        difference = f1_difference(old, scores, held, (held.threshold, held.threshold))
        return {
            "f1": own.f1.value,
            "f1_interval": [own.f1.low, own.f1.high],
            "precision": own.precision.value,
            "recall": own.recall.value,
            "gain": difference[0],
            "gain_interval": difference[1:],
            "f1_at_best": held.confusion(scores, threshold).f1.value,
            "best_threshold": threshold,
        }

    def _has(self, strategy: str, seed: int, labels: int) -> bool:
        return any((row["order"], row["seed"], row["labels"]) == (strategy, seed, labels) for row in self.known())

    def _note(self, order: str, seed: int, labels: int, accepted: int, result: dict[str, Any]) -> None:
        if self._has(order, seed, labels):
            return
        row = {"order": order, "seed": seed, "labels": labels, "accepted": accepted, **result}
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        TOLD.print(f"{order}, seed {seed}, {labels} labels: F1 {result['f1']:.3f}")

    def _copied(self, session: Session, name: str) -> Session:
        """The scanned session once more, without labels and models."""
        path = self._folder / f"{session.path.stem}-{name}.session"
        if not path.exists():
            partial = path.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(session.path, partial)
            partial.rename(path)
        return Session.open(path)


def _order(strategy: str, scores: Scores, pool: Seen, fixed: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places of the frames in the order that a queue proposes; `fixed`, a random order, tells equals apart."""
    by = {
        "uncertain": np.abs(scores - pool.threshold),
        "disagree": -np.abs(scores - pool.embedded),
        "score": -scores,
        "random": np.zeros(len(scores)),
    }[strategy]
    return fixed[np.argsort(by[fixed], kind="stable")]


def show(rows: list[dict[str, Any]], console: Console) -> None:
    """The curves as a table of means and ranges over seeds, and what else was asked."""
    table = Table("order", "labels", "accepted", "F1", "from", "to", "at the best threshold", "minus embedded")
    kinds = list(dict.fromkeys((row["order"], row["labels"]) for row in rows))
    for order, labels in kinds:
        of = [row for row in rows if (row["order"], row["labels"]) == (order, labels)]
        f1, best, gain = ([row[name] for row in of] for name in ("f1", "f1_at_best", "gain"))
        low, high = np.mean([row["gain_interval"] for row in of], axis=0)
        table.add_row(
            WHAT.get(order, order), str(labels), f"{np.mean([row['accepted'] for row in of]):.0f}",
            f"{np.mean(f1):.3f}", f"{min(f1):.3f}", f"{max(f1):.3f}", f"{np.mean(best):.3f}",
            f"{np.mean(gain):+.3f} ({low:+.3f} to {high:+.3f})",
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Run what is missing, and tell what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few hundred frames: whether it runs at all")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--folder", type=Path, help="where all is kept; else a temporary folder")
    parser.add_argument("--seeds", type=int, help="of each order; 3")
    parser.add_argument("--only", choices=("curves", "drift"), help="one part alone")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    seeds = options.seeds or size.seeds
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        study = Study(folder, size)
        if options.only != "drift":
            study.curves(seeds, Seen(size.pool, folder))
        if options.only != "curves":
            study.drift(seeds)
        rows = study.known()
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        show(rows, Console(width=120))


if __name__ == "__main__":
    main()
