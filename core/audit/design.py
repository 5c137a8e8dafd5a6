"""Which frames the audit draws: a stratified random sample without replacement, the same whoever draws it.

Every frame has a permanent random number, made of a seed and its key. A draw takes, in each stratum, the frames with
the smallest numbers, so each frame of a stratum is as likely as any other, more frames of a stratum are those of before
and others, and a draw after new frames have come holds most of what was labelled before. Source: E. Ohlsson,
"Coordination of samples using permanent random numbers", in Business Survey Methods (Wiley, 1995).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

GRID = 100
"""Bins of the score in which a stratum's frames are counted, so that thresholds of two decimals are told apart."""
NEAR, NEXT = 1, 4
"""Strata below the threshold, in multiples of the number of selected frames: most misses are to be expected there."""
NEAR_SHARE, NEXT_SHARE, SELECTED_SHARE, LEAST_SHARE = 0.2, 0.15, 0.3, 0.05
"""Parts of the labels for those strata, for the selected frames, and for any stratum at least; size tells the rest."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """Frames that were drawn from together, as they stood then.

    frames: how many there were. selected: whether their scores reached the threshold of the draw. counts: frames by
    bin of the score, GRID to 1; of frames that no network has scored it is empty.
    """

    name: str
    frames: int
    selected: bool = False
    counts: Mapping[int, int] = field(default_factory=dict)

    def at_least(self, threshold: float) -> float:
        """How many frames have a score of at least the threshold; within a bin they count in proportion."""
        place = threshold * GRID - 1e-6
        first = int(np.ceil(place))
        whole = sum(count for bin_, count in self.counts.items() if bin_ >= first)
        return whole + self.counts.get(first - 1, 0) * max(first - place - 1e-5, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """The strata of a draw, and the drawn frames' places among all: (n,) each, in the order to label them.

    That order takes from all strata in proportion, so whoever stops early has a smaller sample of the same kind.
    """

    strata: tuple[Stratum, ...]
    places: Places
    stratum: Places


def permanent_numbers(
    seed: int, files: Sequence[tuple[str, str]], file: Places, index: Places, points: Places | None = None
) -> Floats:
    """A random number in [0, 1) for each frame or candidate, the same for ever.

    files: (path, data set); file: (n,) places among them; index: (n,); points: (n, 2), of candidates.
    """
    of_file = np.array([_file_number(seed, *names) for names in files], dtype=np.uint64)
    number = _mixed(of_file[file] + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    for column in range(0 if points is None else 2):
        assert points is not None
        number = _mixed(number + points[:, column].astype(np.uint64) * np.uint64(0xD1B54A32D192ED03))
    return (number >> np.uint64(11)).astype(np.float64) / 2.0**53


def draw(scores: Floats, passed: Places, numbers: Floats, threshold: float, n: int) -> Drawing:
    """Draw n frames, or all where there are fewer.

    scores: (frames,), NaN where no network has looked. passed: (frames,) stages passed. numbers: (frames,), permanent.
    """
    strata, shares, stratum = _stratify(scores, passed, threshold)
    wanted = allocate(np.array([each.frames for each in strata], dtype=np.int64), np.array(shares), n)
    chosen, level = [], []
    for place, count in enumerate(wanted):
        members = np.flatnonzero(stratum == place)
        first = members[np.argsort(numbers[members], kind="stable")[:count]]
        chosen.append(first)
        level.append((np.arange(count) + 0.5) / max(count, 1))
    places = np.concatenate([*chosen, np.empty(0, dtype=np.int64)]).astype(np.int64)
    # Equal levels of several strata are told apart by the number, which knows nothing of the score.
    order = np.lexsort((numbers[places], np.concatenate([*level, np.empty(0)])))
    return Drawing(tuple(strata), places[order], stratum[places[order]])


def allocate(frames: Places, shares: Floats, n: int) -> Places:
    """n labels over strata by their shares, never more than a stratum has frames; the sum is min(n, all frames)."""
    left = float(min(n, int(frames.sum())))
    given = np.zeros(len(frames))
    while left > 1e-9:
        room = frames - given
        part = np.where(room > 1e-9, shares, 0.0)
        more = np.minimum(left * part / part.sum(), room)
        given += more
        left -= float(more.sum())
    whole = np.floor(given + 1e-9).astype(np.int64)
    missing = round(float(given.sum())) - int(whole.sum())
    whole[np.argsort(whole - given, kind="stable")[:missing]] += 1
    return whole


def _stratify(scores: Floats, passed: Places, threshold: float) -> tuple[list[Stratum], list[float], Places]:
    """The strata from the worst frames to the best, each one's share of the labels, and every frame's stratum."""
    scored = ~np.isnan(scores)
    stratum = np.full(len(scores), -1, dtype=np.int64)
    strata: list[Stratum] = []
    shares: list[float] = []
    for stage in np.unique(passed[~scored]).tolist():
        members = ~scored & (passed == stage)
        stratum[members] = len(strata)
        strata.append(Stratum(f"stopped at stage {stage + 1}", int(members.sum())))
        shares.append(0.0)
    edges = _edges(scores[scored], threshold)
    bands = np.searchsorted(edges, scores[scored], side="right")
    first = len(strata)
    for band in np.unique(bands).tolist():
        members = np.flatnonzero(scored)[bands == band]
        stratum[members] = len(strata)
        low, high = np.concatenate([[0.0], edges, [1.0]])[[band, band + 1]]
        bins, counts = np.unique(np.floor(scores[members] * GRID + 1e-6).astype(int), return_counts=True)
        by_bin = dict(zip(bins.tolist(), counts.tolist(), strict=True))
        strata.append(Stratum(f"{low:.3f} to {high:.3f}", len(members), bool(low >= threshold), by_bin))
        shares.append(0.0)
    selected = [place for place, each in enumerate(strata) if each.selected]
    for place in selected:
        shares[place] = SELECTED_SHARE / len(selected)
    below = [place for place in range(first, len(strata)) if place not in selected]
    for place, share in zip(reversed(below[1:]), (NEAR_SHARE, NEXT_SHARE), strict=False):
        shares[place] = share
    rest = [place for place, share in enumerate(shares) if not share]
    everywhere, left = sum(strata[place].frames for place in rest), 1 - sum(shares)
    for place in rest:
        shares[place] = max(left * strata[place].frames / everywhere, LEAST_SHARE)
    return strata, shares, stratum


def _edges(scores: Floats, threshold: float) -> Floats:
    """Scores at which one stratum ends and the next begins, rising; the threshold is one."""
    high = scores[scores >= threshold]
    below = np.sort(scores[scores < threshold])
    step = max(len(high), len(scores) // 100, 1)
    edges = {float(threshold)}
    for times in (NEAR, NEAR + NEXT):
        if times * step < len(below):
            edges.add(float(below[len(below) - times * step]))
    if len(high):
        edges.add(float(np.median(high)))
    return np.array(sorted(edges))


def _file_number(seed: int, path: str, dataset: str) -> int:
    text = f"{seed}\0{path}\0{dataset}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit given: splitmix64, G. Steele et al., OOPSLA 2014."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
