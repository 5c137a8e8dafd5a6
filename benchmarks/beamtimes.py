"""Simulated beamtimes that are scanned once and kept, and what models make of the frames that the network sees."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion, best_threshold, confusion_at
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.decisions.label_files import match_files, read_labels
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.models.catalog import shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.examples import Examples, gather
from photon_triage.core.training.tasks.detector.learner import score
from photon_triage.models.darknet.detector import Detector, best_of_class, load_detector

EMBEDDED = "hitnet-spi"
CPU = torch.device("cpu")
AT_ONCE = 64
WANTED = "single"

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Beamtime:
    """What is simulated: its name in the folder, frames, runs, seed and drift."""

    name: str
    frames: int
    runs: int
    seed: int
    drift: str = "usual"


class Seen:
    """A scanned beamtime: the frames that reach the network, in memory, and the truth of all frames."""

    def __init__(self, beamtime: Beamtime, folder: Path) -> None:
        data, path = folder / beamtime.name, folder / f"{beamtime.name}.session"
        if not (folder / f"{beamtime.name}.done").exists():
            shutil.rmtree(data, ignore_errors=True)  # what an interrupted call left
            self._command("simulate", "spi", data, "--frames", beamtime.frames, "--runs", beamtime.runs, "--seed",
                          beamtime.seed, "--drift", beamtime.drift, "--rate", 0, "--quiet")  # fmt: skip
            (folder / f"{beamtime.name}.done").touch()
        self._command("scan", data, "--session", path, "--recipe", "spi", "--quiet")
        self.beamtime, self.session = beamtime, Session.open(path)
        reader = self.session.results()
        labels = match_files(read_labels(data / "truth.csv"), reader.files())
        scores = reader.frames().scores(label.key for label in labels)
        reader.close()
        self.labels: dict[FrameKey, Label] = {label.key: label for label in labels}
        self.truth = {key: label.verdict == "accepted" for key, label in self.labels.items()}
        self.threshold = self.session.recipe().default_threshold
        self.examples: Examples = gather(self.session, preparation_of(self.session), labels)
        self.embedded: Scores = np.array([scores[key] for key in self.examples.keys], np.float32)

    @cached_property
    def features(self) -> _Features:
        """What the embedded model's layers make of the frames."""
        return _Features(self)

    def scores(self, detector: Detector) -> Scores:
        """A model's score of each frame that the network sees, (n,)."""
        return self.features.scores(detector)

    def confusion(self, scores: Scores, threshold: float) -> Confusion:
        """Against the truth of all frames: singles that never reach the network are misses."""
        return confusion_at(self._by_key(scores), self.truth, threshold).confusion

    def best_threshold(self, scores: Scores) -> float:
        """The threshold of the highest F1 on this beamtime."""
        return best_threshold(self._by_key(scores), self.truth) or self.threshold

    def _by_key(self, scores: Scores) -> dict[FrameKey, float | None]:
        found: dict[FrameKey, float | None] = dict.fromkeys(self.truth)
        return found | dict(zip(self.examples.keys, scores.tolist(), strict=True))

    def _command(self, *words: object) -> None:
        subprocess.run([sys.executable, "-m", "photon_triage.tui", *map(str, words)], check=True)


class _Features:
    """The frames behind the first layers of the embedded model: models that share those layers are scored faster.

    Where a training leaves the first layers as they are, scoring ten thousand frames with each of many models need not
    begin at the pixels.
    """

    def __init__(self, seen: Seen) -> None:
        self._seen, self._layers = seen, 0
        self._maps: list[Tensor] = []

    @torch.inference_mode()
    def scores(self, detector: Detector) -> Scores:
        """The score of each frame, (n,)."""
        preparation, counts = preparation_of(self._seen.session), self._seen.examples.counts
        layers = shared_layers(embedded(), detector)
        if layers == 0:
            return score(detector, preparation, self._seen.examples, CPU)
        if layers != self._layers:
            first = nn.Sequential(*embedded().network.fused().layers[:layers])
            batches = (torch.from_numpy(counts[start : start + AT_ONCE]) for start in range(0, len(counts), AT_ONCE))
            self._maps, self._layers = [first(preparation.fit(batch.float())) for batch in batches], layers
        rest, index = nn.Sequential(*detector.network.fused().layers[layers:]), detector.index(WANTED)
        parts = [best_of_class([rest(maps)], detector, index).scores for maps in self._maps]
        return np.asarray(torch.cat(parts).numpy(), np.float32)


def shared_layers(one: Detector, other: Detector) -> int:
    """How many of the first layers of two chains of layers are equal; 0 where they differ in kind."""
    if one.network.cfg != other.network.cfg:
        return 0
    first, second = one.network.state_dict(), other.network.state_dict()
    changed = [
        int(name.split(".")[1]) for name in first if name.startswith("layers.") and not first[name].equal(second[name])
    ]
    return min(changed, default=len(one.network.layers) - 2)


@cache
def embedded() -> Detector:
    """The model that comes with the package."""
    return load_detector(shipped_models()[EMBEDDED].path)


def preparation_of(session: Session) -> Preparation:
    """What a session's frames go through on their way to the embedded model."""
    network = embedded().network
    return preparation_for(session.recipe(), network.input_size, network.in_channels)


def f1_difference(
    old: Scores, new: Scores, seen: Seen, thresholds: tuple[float, float], draws: int = 2000
) -> tuple[float, float, float]:
    """F1 of `new` minus that of `old` on the same frames, with a 95 % interval: a bootstrap over frames.

    thresholds: of old and new. Source: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993).
    """
    truth = seen.examples.positive
    lost = sum(seen.truth.values()) - int(truth.sum())
    picked = [scores >= threshold for scores, threshold in zip((old, new), thresholds, strict=True)]
    # Frames fall in eight kinds; a bootstrap of the kinds' counts is one of the frames.
    kinds = np.bincount(4 * truth + 2 * picked[0] + picked[1], minlength=8)
    counts = np.append(kinds, lost)
    drawn = np.random.default_rng(0).multinomial(counts.sum(), counts / counts.sum(), draws)

    def f1(counts: NDArray[np.int64], place: int) -> NDArray[np.float64]:
        chosen = [kind for kind in range(8) if kind >> (1 - place) & 1]
        tp = counts[..., [kind for kind in chosen if kind >= 4]].sum(-1)
        return np.asarray(2 * tp / np.maximum(counts[..., chosen].sum(-1) + counts[..., 4:].sum(-1), 1))

    spread = f1(drawn, 1) - f1(drawn, 0)
    low, high = np.quantile(spread, [0.025, 0.975])
    return float(f1(counts, 1) - f1(counts, 0)), float(low), float(high)
