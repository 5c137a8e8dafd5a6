"""How often the audit's 95 % intervals hold the truth: frames are simulated, drawn, labelled and estimated many times.

A hit finder refuses some frames, a network scores the others; hits and misses have normal log-odds that overlap. The
threshold is the one of the highest F1. Nothing is assumed of the scores by what is measured here.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from photon_triage.core.audit.design import draw
from photon_triage.core.audit.estimate import Quantity, Sample, estimate

RATES = (0.01, 0.05, 0.5)
SIZES = (100, 300, 1000, 3000)
FRAMES = 50_000
DRAWS_EACH = 25
"""Draws of one simulated beamtime, before the next one is simulated."""
QUANTITIES: tuple[Quantity, ...] = ("hit_rate", "precision", "recall", "f1")
HIT_LOG_ODDS, MISS_LOG_ODDS, SPREAD = 2.0, -3.5, 1.8
HITS_REFUSED, MISSES_REFUSED = 0.02, 0.6


@dataclass(frozen=True)
class Coverage:
    """Of one hit rate, number of labels and quantity: how often the interval held the truth, and its mean width."""

    hit_rate: float
    labels: int
    quantity: str
    covered: float
    width: float
    draws: int


@dataclass(frozen=True, eq=False)
class Beamtime:
    """Frames as a cascade leaves them: (frames,) hit, score (NaN: refused), stages passed; and a threshold."""

    hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    passed: NDArray[np.int64]
    threshold: float

    @property
    def truth(self) -> dict[Quantity, float]:
        """What the audit is to find out."""
        selected = self.score >= self.threshold
        both = int((selected & self.hit).sum())
        hits, taken = int(self.hit.sum()), int(selected.sum())
        values = (hits / len(self.hit), both / taken, both / hits, 2 * both / (hits + taken))
        return dict(zip(QUANTITIES, values, strict=True))


def beamtime(rate: float, random: np.random.Generator) -> Beamtime:
    """A simulated beamtime."""
    hit = random.random(FRAMES) < rate
    log_odds = random.normal(np.where(hit, HIT_LOG_ODDS, MISS_LOG_ODDS), SPREAD)
    refused = random.random(FRAMES) < np.where(hit, HITS_REFUSED, MISSES_REFUSED)
    score = np.where(refused, np.nan, 1 / (1 + np.exp(-log_odds)))
    grid = np.arange(1, 100) / 100
    selected = np.array([np.sum(score >= value) for value in grid])
    both = np.array([np.sum((score >= value) & hit) for value in grid])
    best = int(np.argmax(2 * both / (selected + hit.sum())))
    return Beamtime(hit, score, np.where(refused, 0, 2), float(grid[best]))


def measure(rate: float, size: int, draws: int, seed: int) -> list[Coverage]:
    """The coverage of every quantity."""
    random = np.random.default_rng([seed, round(rate * 1000), size])
    covered = dict.fromkeys(QUANTITIES, 0)
    width = dict.fromkeys(QUANTITIES, 0.0)
    done = 0
    while done < draws:
        frames = beamtime(rate, random)
        for _ in range(min(DRAWS_EACH, draws - done)):
            drawn = draw(frames.score, frames.passed, random.random(FRAMES), frames.threshold, size)
            places = drawn.places
            sample = Sample(drawn.strata, drawn.stratum, frames.hit[places], frames.score[places], frames.threshold)
            (found,) = estimate(sample, [frames.threshold])
            for name, true in frames.truth.items():
                interval = getattr(found, name)
                covered[name] += interval.low - 1e-12 <= true <= interval.high + 1e-12
                width[name] += interval.high - interval.low
            done += 1
    return [Coverage(rate, size, name, covered[name] / done, width[name] / done, done) for name in QUANTITIES]


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000, help="draws for each line of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    pairs = [(rate, size) for rate in RATES for size in SIZES]
    shown = track(pairs, console=Console(stderr=True), description="draws", disable=not sys.stderr.isatty())
    found = [line for rate, size in shown for line in measure(rate, size, arguments.draws, arguments.seed)]
    if arguments.json:
        json.dump({"frames": FRAMES, "coverage": [asdict(line) for line in found]}, sys.stdout, indent=1)
        return
    table = Table("hits", "labels", *(f"{name}: covered, width" for name in QUANTITIES))
    for start in range(0, len(found), len(QUANTITIES)):
        lines = found[start : start + len(QUANTITIES)]
        cells = (f"{100 * line.covered:.1f} %, {line.width:.3f}" for line in lines)
        table.add_row(f"{100 * lines[0].hit_rate:g} %", str(lines[0].labels), *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
