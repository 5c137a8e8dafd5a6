"""Representativeness of the labels for the beamtime: by recorded numbers, by runs, and by features of a network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError, TriageError
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.models.catalog import find_model
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.core.training.data.examples import Examples, gather
from photon_triage.core.training.data.sources import DEFAULT_SOURCES, choose
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import load_detector
from photon_triage.models.darknet.representation import Features
from photon_triage.models.inference.precision import best_device

MOST = 256
"""Frames of either kind, drawn at random."""

AT_ONCE = 32
FEW = 40
"""Accepted or rejected frames below which to expect little: SpeckleNN's single hits from 40 labels a class."""
FEW_RUNS = 3
COVERED, LATER = 0.95, 0.25
"""First runs only: runs that hold this part of what is learned from leave at least that part of the frames behind."""
APART = 0.5
"""Standardised difference of means from which a measure is worth a word; 0.25 is where a comparison begins to limp
(Rubin 2001), and queues choose frames that differ a little."""
FAR = 1.5
"""Distance to what is learned from, relative to that within it, from which frames look unlike any of it."""
PLACES = ("time", "run", "place in file")
LEAST = 3
"""Frames between which a distance is worth telling."""


@dataclass(frozen=True)
class FeatureDistance:
    """Mean distances to the nearest frame learned from, with every feature scaled to the deviation 1.

    beamtime: of frames drawn from those that are not learned from. within: of the frames learned from to each other.
    ratio: the one over the other, near 1 where what is learned from stands for all; None where `within` is 0.
    """

    learned: int
    drawn: int
    beamtime: float
    within: float
    ratio: float | None


def feature_distance(
    session: Session,
    network: Darknet,
    preparation: Preparation,
    learned: NDArray[Any],
    known: Collection[FrameKey],
    device: torch.device,
    seed: int = 0,
) -> FeatureDistance | None:
    """The distance to frames of a session that reach its network; None where there are too few of either.

    learned: (n, rows, columns) counts in the preparation's region. known: their keys.
    """
    rng = np.random.default_rng(seed)
    reached = session.recipe().stages_before_network
    with closing(session.results()) as reader:
        keys = [row.key for row in reader.all_frames() if row.passed >= reached and row.key not in known]
    if len(keys) < 2 or len(learned) < 3:
        return None
    drawn = [keys[place] for place in np.sort(rng.permutation(len(keys))[:MOST]).tolist()]
    try:
        others = gather(session, preparation, [Label(key, "rejected", "", 0.0) for key in drawn]).counts
    except TrainingError:
        return None  # their files are gone; those that were learned from are in memory
    some = np.sort(rng.permutation(len(learned))[:MOST])
    features = [features_of(network, preparation, counts, device) for counts in (learned[some], others)]
    return distance_between(*features)


def distance_between(learned: NDArray[np.float64], beamtime: NDArray[np.float64]) -> FeatureDistance:
    """The distance of features (m, k) to features learned from, (n, k) with n of 2 and more."""
    from sklearn.neighbors import NearestNeighbors

    spread = np.concatenate([learned, beamtime]).std(0)
    scale = np.where(spread > 0, spread, 1.0)
    # By a tree, which subtracts: products of thousands of features leave a distance between equal frames.
    nearest = NearestNeighbors(n_neighbors=1, algorithm="ball_tree").fit(learned / scale)
    within = float(nearest.kneighbors()[0].mean())
    away = float(nearest.kneighbors(beamtime / scale)[0].mean())
    return FeatureDistance(len(learned), len(beamtime), away, within, away / within if within else None)


@torch.inference_mode()
def features_of(
    network: Darknet, preparation: Preparation, counts: NDArray[Any], device: torch.device
) -> NDArray[np.float64]:
    """The features of frames, (n, features): see `models.features`."""
    features = Features(network).fused().to(device)
    preparation.to(device)
    parts = []
    for start in range(0, len(counts), AT_ONCE):
        part = torch.from_numpy(counts[start : start + AT_ONCE]).to(device).float()
        parts.append(features(preparation.fit(part)).double().cpu().numpy())
    return np.concatenate(parts)


@dataclass(frozen=True)
class Measure:
    """One number of frames: its means, and how the frames learned from differ from all that reach the network.

    difference: of means, in standard deviations (the root of the mean of both variances); None where nothing varies
    but the means differ. ks: the greatest distance of the distribution functions (Smirnov 1948); by chance it exceeds
    ks_limit in one of a hundred.
    """

    name: str
    learned: float
    beamtime: float
    difference: float | None
    ks: float
    ks_limit: float

    @property
    def is_apart(self) -> bool:
        """Whether it differs much, and not by chance."""
        return self.ks > self.ks_limit and (self.difference is None or abs(self.difference) >= APART)


@dataclass(frozen=True)
class RunShare:
    """A run's frames that reach the network, and how many of them are learned from."""

    run: str
    frames: int
    learned: int


@dataclass(frozen=True)
class Later:
    """What comes after the runs learned from: runs, their part of the frames, and the measure that differs most."""

    runs: int
    share: float
    measure: str
    ks: float
    differs: bool


@dataclass(frozen=True)
class RepresentationReport:
    """What is learned from beside the frames that reach the network.

    elsewhere: frames learned from that the session does not hold, such as simulated ones. run_difference: half the sum
    of the differences of the runs' shares, 0 where they are alike, 1 where no run is in both.
    """

    frames: int
    learned: int
    elsewhere: int
    accepted: int
    rejected: int
    runs: tuple[RunShare, ...]
    run_difference: float
    measures: tuple[Measure, ...]
    later: Later | None = None
    features: FeatureDistance | None = None
    warnings: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """What `train --json` prints and the model's record keeps."""
        return asdict(self)


def represent(
    session: Session, verdicts: Mapping[FrameKey, bool], features: FeatureDistance | None = None
) -> RepresentationReport:
    """Compare frames learned from, True where accepted, with all of a session that reach its network.

    Raises SessionError where no engine has run there.
    """
    reached = session.recipe().stages_before_network
    verdicts = _of_frames(verdicts)
    with closing(session.results()) as reader:
        rows = [row for row in reader.all_frames() if row.passed >= reached]
    learned = np.array([row.key in verdicts for row in rows], bool)
    order = {run: place for place, run in enumerate(dict.fromkeys(row.run for row in rows))}
    run = np.array([order[row.run] for row in rows], np.intp)
    numbers = _numbers(rows) | {"run": run.astype(float)}
    measures = tuple(
        found for name, values in numbers.items() if (found := compared(name, values[learned], values)) is not None
    )
    counts, taken = np.bincount(run, minlength=len(order)), np.bincount(run[learned], minlength=len(order))
    later = _later(run, learned, numbers, len(order)) if learned.any() else None
    shares = tuple(RunShare(name, int(counts[place]), int(taken[place])) for name, place in order.items())
    counted = Counter(verdicts.values())
    known = int(learned.sum())
    apart = np.abs(counts / max(1, counts.sum()) - taken / known).sum() / 2 if known else 1.0
    said = RepresentationReport(
        len(rows), known, len(verdicts) - known, counted[True], counted[False],
        shares, float(apart), measures, later, features,
    )  # fmt: skip
    return RepresentationReport(**{**vars(said), "warnings": tuple(_warnings(said))})


def compared(name: str, learned: NDArray[np.float64], beamtime: NDArray[np.float64]) -> Measure | None:
    """How a measure of (n,) frames learned from differs from that of (m,) others; NaN where it is not known of one."""
    from scipy.stats import ks_2samp, kstwobign

    one, other = learned[np.isfinite(learned)], beamtime[np.isfinite(beamtime)]
    if not len(one) or not len(other):
        return None
    spread = math.sqrt((float(one.var()) + float(other.var())) / 2)
    apart = float(one.mean() - other.mean())
    difference = apart / spread if spread else (None if apart else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):  # the chance of so great a distance, of a frame or two
        distance = float(ks_2samp(one, other, method="asymp").statistic)
    limit = float(kstwobign.isf(0.01)) * math.sqrt(1 / len(one) + 1 / len(other))
    return Measure(name, float(one.mean()), float(other.mean()), difference, distance, min(1.0, limit))


def _of_frames(verdicts: Mapping[FrameKey, bool]) -> dict[FrameKey, bool]:
    """By frame, where candidates were decided: accepted where one on it was."""
    found: dict[FrameKey, bool] = {}
    for key, accepted in verdicts.items():
        found[key.frame] = found.get(key.frame, False) or accepted
    return found


def _numbers(rows: Sequence[FrameRow]) -> dict[str, NDArray[np.float64]]:
    """What is recorded of frames, (n,) each, NaN where it is not."""
    names = dict.fromkeys(name for row in rows for name in row.measures)
    columns: dict[str, Iterable[float | None]] = {name: [row.measures.get(name) for row in rows] for name in names}
    columns |= {
        "score": [row.score for row in rows],
        "time": [row.seen for row in rows],
        "place in file": [row.key.index for row in rows],
    }
    return {name: np.array(list(values), np.float64) for name, values in columns.items()}


def _later(
    run: NDArray[np.intp], learned: NDArray[np.bool_], numbers: Mapping[str, NDArray[np.float64]], runs: int
) -> Later | None:
    """What comes after the run up to which nearly all that is learned from lies; None where nothing does."""
    last = int(np.quantile(run[learned], COVERED, method="higher"))
    if last == runs - 1:
        return None
    after = run > last
    differing = [
        found
        for name, values in numbers.items()
        if name not in PLACES and (found := compared(name, values[~after], values[after])) is not None
    ]
    most = max(differing, key=lambda each: each.ks - each.ks_limit, default=None)
    if most is None:
        return Later(runs - 1 - last, float(after.mean()), "", 0.0, False)
    return Later(runs - 1 - last, float(after.mean()), most.name, most.ks, most.ks > most.ks_limit)


def _warnings(said: RepresentationReport) -> Iterable[str]:
    later, taken = said.later, sum(each.learned > 0 for each in said.runs)
    if later is not None and later.share >= LATER and later.differs:
        yield (
            f"First runs only: the last {later.runs} of {len(said.runs)} runs hold {later.share:.0%} of the frames and "
            f"hardly any label, and differ from the runs before, most in {later.measure} (KS {later.ks:.2f}). "
            "Label frames of them."
        )
    if taken < min(FEW_RUNS, len(said.runs)):
        yield f"Few runs: frames of {taken} of {len(said.runs)} runs are learned from. Label frames of others."
    for count, verdict in ((said.accepted, "accepted"), (said.rejected, "rejected")):
        if count < FEW:
            yield f"Few {verdict} frames: {count}. Expect more of the model from {FEW}."
    apart = [each.name for each in said.measures if each.is_apart and each.name not in PLACES]
    if apart:
        yield f"The frames learned from differ from those of the beamtime in {', '.join(apart)}."
    if said.features is not None and said.features.ratio is not None and said.features.ratio >= FAR:
        yield (
            f"To the network, frames of the beamtime lie {said.features.ratio:.1f} times as far from what it learned "
            "from as that lies apart: it has seen too little of their kind."
        )


def labels_report(session: Session, device: str | None = None) -> RepresentationReport:
    """What a training on the session's labels would learn from, those of the audit left out, beside the beamtime.

    Features are those of the detector in use; without one, or where it or the frames cannot be read, there are none.
    Raises SessionError where no engine has run.
    """
    labels = [
        label
        for label in choose(session.labels().labels.values(), DEFAULT_SOURCES).labels
        if label.verdict != "skipped"
    ]
    verdicts = {label.key: label.verdict == "accepted" for label in labels}
    said = represent(session, verdicts)
    classify = session.recipe().classify
    if classify is None or said.learned < LEAST:
        return said
    name = session.engine_state().models.get("classify") or classify.model
    try:
        detector = load_detector(find_model(str(name), session.models_path).path)
        network = detector.network
        preparation = preparation_for(session.recipe(), network.input_size, network.in_channels)
        examples = gather(session, preparation, labels)
    except (TriageError, ModelError):
        return said
    return represent(
        session,
        verdicts,
        feature_distance(session, network, preparation, examples.counts, set(examples.keys), best_device(device)),
    )


def representation_of(
    session: Session, examples: Examples, network: Darknet, preparation: Preparation, device: torch.device, seed: int
) -> RepresentationReport:
    """What a detector has learned from beside the beamtime, by its own features too."""
    verdicts = dict(zip(examples.keys, examples.positive.tolist(), strict=True))
    known = set(examples.keys)
    return represent(
        session, verdicts, feature_distance(session, network, preparation, examples.counts, known, device, seed)
    )
