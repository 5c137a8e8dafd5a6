"""Which of very many negatives to learn from: those that stand for all of them, or those most like the positives.

The statistics are those by which the negatives of a search for few objects were preselected at DESY (Heuser 2019):
mean, median, skewness, minimum, maximum, kurtosis and more of each patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from photon_triage.core.common.errors import TrainingError

How = Literal["random", "representative", "hard"]
HOWS: tuple[str, ...] = get_args(How)

STATISTICS = (
    "mean", "median", "min", "max", "deviation", "skewness", "kurtosis", "percentile-10", "percentile-90", "lit",
    "gradient",
)  # fmt: skip
"""lit: the part of the pixels above 0. gradient: the mean absolute step from one pixel to the next."""

AT_ONCE = 256
NEGATIVES_A_POSITIVE = 3
"""As many negatives are chosen for each positive, at least LEAST of them; the seeds' study took 390 for 165."""

LEAST = 200
HARD_SHARE = 0.5
"""Of hard negatives, those that are most like the positives; the rest stands for all of them."""

WORST, WORST_WEIGHT = 0.1, 3.0
"""The part of the negatives with the highest scores, half-way through a training, and how much more often they are then
drawn."""

MOST_OF_A_RUN, SELDOM = 2.0, 4.0


def statistics_of(patches: NDArray[Any] | Tensor) -> NDArray[np.float64]:
    """STATISTICS of every patch or frame, (n, 11).

    patches: (n, rows, columns), any numbers. Skewness and kurtosis are the third and the fourth standardised moment,
    the latter less 3; both 0 where nothing varies. The median is the mean of the two in the middle.
    """
    parts = [_statistics(torch.as_tensor(patches[at : at + AT_ONCE])) for at in range(0, len(patches), AT_ONCE)]
    return torch.cat(parts).cpu().numpy() if parts else np.empty((0, len(STATISTICS)))


def _statistics(patches: Tensor) -> Tensor:
    values = patches.double()
    flat = values.flatten(1)
    mean = flat.mean(1, keepdim=True)
    centred = flat - mean
    variance = centred.square().mean(1)
    # What rounding leaves of a constant patch is no variation.
    varies = variance > (1e-12 * flat.abs().amax(1)).square()
    spread = torch.where(varies, variance, 1.0)
    skewness = torch.where(varies, centred.pow(3).mean(1) / spread.pow(1.5), 0.0)
    kurtosis = torch.where(varies, centred.pow(4).mean(1) / spread.square() - 3, 0.0)
    low, median, high = torch.quantile(flat, torch.tensor([0.1, 0.5, 0.9], dtype=flat.dtype, device=flat.device), 1)
    steps = [values.diff(dim=axis).abs().flatten(1) for axis in (1, 2) if values.shape[axis] > 1]
    gradient = torch.cat(steps, 1).mean(1) if steps else torch.zeros_like(median)
    return torch.stack(
        [
            mean[:, 0], median, flat.amin(1), flat.amax(1), variance.sqrt(), skewness, kurtosis, low, high,
            (flat > 0).double().mean(1), gradient,
        ],
        1,
    )  # fmt: skip


def checked_how(name: str) -> How:
    """The name, if negatives can be chosen so; raises TrainingError that says how they can."""
    for how in get_args(How):
        if name == how:
            return how  # type: ignore[no-any-return]
    raise TrainingError(f"Could not choose negatives that are {name}.", f"Allowed: {', '.join(HOWS)}.")


def preselect(
    how: How, negatives: NDArray[np.float64], positives: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """The places of `count` negatives in ascending order, all where there are no more.

    negatives, positives: (n, k) and (m, k) statistics. "representative" draws one from each of as many cells of the
    ranks' space with equally many negatives; "hard" takes half of them as the nearest to a positive, by ranks, and the
    other half so from the rest.
    """
    checked_how(how)
    if count >= len(negatives):
        return np.arange(len(negatives))
    if how == "random":
        return np.sort(rng.choice(len(negatives), count, replace=False))
    ranks = _ranks(negatives, negatives)
    if how == "representative" or not len(positives):
        return np.sort(_one_of_each_cell(ranks, count, rng))
    from sklearn.neighbors import NearestNeighbors

    away = NearestNeighbors(n_neighbors=1).fit(_ranks(positives, negatives)).kneighbors(ranks)[0][:, 0]
    order = np.argsort(away, kind="stable")
    nearest, rest = np.split(order, [round(count * HARD_SHARE)])
    others = rest[_one_of_each_cell(ranks[rest], count - len(nearest), rng)]
    return np.sort(np.concatenate([nearest, others]))


def _ranks(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of `among` that lies below each value, half of those that are equal, (n, k) in [0, 1]."""
    ranks = np.empty(values.shape)
    for column in range(values.shape[1]):
        ordered = np.sort(among[:, column])
        sides = [np.searchsorted(ordered, values[:, column], side=side) for side in ("left", "right")]
        ranks[:, column] = (sides[0] + sides[1]) / 2 / len(ordered)
    return ranks


def _one_of_each_cell(ranks: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """One at random from each of `count` cells, made by cutting along the widest statistic in proportion."""
    chosen: list[int] = []
    cells = [(np.arange(len(ranks)), count)]
    while cells:
        members, wanted = cells.pop()
        if not wanted:
            continue
        if wanted == 1:
            chosen.append(int(rng.choice(members)))
            continue
        widest = int(np.ptp(ranks[members], axis=0).argmax())
        # Equal ranks in random order: else a file's first frames would make cells of their own.
        members = rng.permutation(members)
        members = members[np.argsort(ranks[members, widest], kind="stable")]
        fewer = wanted // 2
        cut = round(len(members) * fewer / wanted)
        cells += [(members[:cut], fewer), (members[cut:], wanted - fewer)]
    return np.array(chosen, np.intp)


@dataclass(frozen=True, eq=False)
class Preselection:
    """Which negatives are learned from: (n,) bool over all examples, positives always, and what the record says."""

    kept: NDArray[np.bool_]
    facts: dict[str, Any]


def preselection(how: How, frames: NDArray[Any], positive: NDArray[np.bool_], seed: int) -> Preselection:
    """Choose among labelled frames (n, rows, columns); "random" keeps all of them, of which batches draw at random."""
    if how == "random":
        return Preselection(np.ones(len(positive), bool), {"negatives": how})
    places = np.flatnonzero(~positive)
    wanted = max(LEAST, NEGATIVES_A_POSITIVE * int(positive.sum()))
    statistics = statistics_of(frames)
    chosen = preselect(how, statistics[places], statistics[positive], wanted, np.random.default_rng(seed))
    kept = positive.copy()
    kept[places[chosen]] = True
    facts = {"negatives": how, "negatives_of": len(places), "negatives_chosen": len(chosen)}
    return Preselection(kept, facts | {"statistics": list(STATISTICS)})


def run_weights(runs: NDArray[np.str_], positive: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Relative chances, (n,), by which no run has more than MOST_OF_A_RUN times its equal share of either kind.

    But no frame is drawn more than SELDOM times as often as another: few labels of many runs are not worth more. None
    where no run has so many, so that what is drawn stays as it is.
    """
    weights = np.ones(len(runs))
    for members in (positive, ~positive):
        names, run_of, counts = np.unique(runs[members], return_inverse=True, return_counts=True)
        factors = _capped(counts.astype(float), MOST_OF_A_RUN / max(1, len(names)))
        weights[members] = np.maximum(factors, 1 / SELDOM)[run_of]
    return None if np.ptp(weights) == 0 else weights


def _capped(counts: NDArray[np.float64], cap: float) -> NDArray[np.float64]:
    """The factor of each count by which none is more than the part `cap` of their sum."""
    factors = np.ones(len(counts))
    if not len(counts) or cap >= 1:
        return factors
    held = np.zeros(len(counts), bool)
    while True:
        left = float(counts[~held].sum())
        # Those that are held have the share `cap` each of a whole in which the others have the rest.
        whole = left / (1 - cap * int(held.sum()))
        over = ~held & (counts > cap * whole * (1 + 1e-9))
        if not over.any():
            factors[held] = cap * whole / counts[held]
            return factors
        held |= over


def mined(scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Relative chances, (n,), after a look at the scores: the worst false positives WORST_WEIGHT, all else 1."""
    weights = np.ones(len(scores))
    negatives = np.flatnonzero(~positive)
    worst = negatives[np.argsort(-scores[negatives], kind="stable")[: max(1, round(WORST * len(negatives)))]]
    weights[worst] = WORST_WEIGHT
    return weights
