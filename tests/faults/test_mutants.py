"""Mutated files: no crash and no hang of the engine, each a row in the ledger, and no other file pays for one."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.builders.detector_files import make_old, write_cxi

from .engines import digest, files, make_session, recorded, scan
from .memory import HighWater
from .mutants import mutate, originals
from .scale import SOAK, scaled
from .test_isolation import be_impatient

Say = Callable[[str], None]
AT_ONCE = 1000
READER_LIMIT = 6 * 2**30
SEED = int(os.environ.get("PHOTON_TRIAGE_SEED", "1"))


def test_mutated_files_cost_nobody_else_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: Say) -> None:
    be_impatient(monkeypatch, 10.0 if SOAK > 1 else 3.0)
    (tmp_path / "originals").mkdir()
    whole = originals(tmp_path / "originals")
    count, rng = scaled(112, 10_000), random.Random(SEED)
    statuses: Counter[str] = Counter()
    deaths = sentinels = damaged = 0
    most_virtual = most_resident = 0
    for first in range(0, count, AT_ONCE):
        batch = range(first, min(first + AT_ONCE, count))
        data = tmp_path / f"data_{first}"
        data.mkdir()
        expected = _write(data, whole, batch, rng)
        session = make_session(tmp_path / f"session_{first}")
        with HighWater() as water:
            scan(session, [data])
        rows, frames = files(session), recorded(session)
        mutants = [row for name, row in rows.items() if not name.startswith("good")]
        statuses.update(row.status for row in mutants)
        deaths += sum("reader process" in row.reason for row in mutants)
        sentinels += len(expected)
        damaged += sum(list(frames.get(name, {}).values()) != digests for name, digests in expected.items())
        most_virtual = max(most_virtual, water.most_virtual)
        most_resident = max(most_resident, water.most_resident)
        assert len(rows) == len(batch) + len(expected), "every file is a row"
    figure(
        f"mutated files: {count} ({dict(statuses)}), {deaths} cost readers, {damaged} of {sentinels} files beside them "
        f"lost anything; at most {most_virtual / 2**30:.2f} of {READER_LIMIT / 2**30:.0f} GiB of a reader's addresses, "
        f"{most_resident / 2**20:.0f} MiB of memory"
    )
    assert not damaged and statuses.keys() <= {"complete", "missing", "unreadable"}
    assert most_virtual <= READER_LIMIT


def _write(folder: Path, whole: list[Path], batch: range, rng: random.Random) -> dict[str, list[str]]:
    """Mutants, and one good file to ten of them; returns the digests of the good ones' frames."""
    expected = {}
    for number in batch:
        original = whole[number % len(whole)]
        path = folder / f"{number:05}_{original.name}"
        path.write_bytes(mutate(original.read_bytes(), rng))
        make_old(path, 5000 - number % 1000)
        if number % 10 == 0:
            frames = np.random.default_rng(number).integers(1, 1000, (3, 48, 64)).astype("i2")
            name = f"good_{number:05}.cxi"
            make_old(write_cxi(folder / name, frames), 5000 - number % 1000)
            expected[name] = [digest(frame) for frame in frames]
    return expected
