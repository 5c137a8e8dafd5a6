"""Files of each kind with bytes changed at random, read as an engine reads them: answered in time, or refused."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader
from tests.builders.detector_files import frames_of, make_old
from tests.builders.image_files import write_cbf, write_edf, write_smv

from .mutants import mutate, originals
from .scale import scaled
from .test_mutants import SEED

Say = Callable[[str], None]
DEADLINE_S = 20.0
MOST_READ = 4
SUFFIXES = {
    "HDF5": (".h5", ".cxi", ".nxs"),
    "TIFF": (".tif", ".stk"),
    "MRC": (".mrcs",),
    "CBF": (".cbf",),
    "EDF": (".edf",),
    "SMV": (".img",),
}
COUNTS = {"HDF5": (40, 2000), "TIFF": (40, 2000)}
USUAL = (60, 1000)


def whole_files(folder: Path, kind: str) -> list[Path]:
    if kind in ("HDF5", "TIFF", "MRC"):
        return [path for path in originals(folder) if path.suffix in SUFFIXES[kind]]
    pytest.importorskip("fabio", reason="the extra `cbf` is not installed")
    noise = np.random.default_rng(3).integers(0, 60, (48, 64)).astype("i4")
    match kind:
        case "CBF":
            return [write_cbf(folder / "a.cbf", noise)]
        case "EDF":
            return [write_edf(folder / f"{dtype}.edf", frames_of(3, dtype=dtype)) for dtype in ("u2", "i4", "f4")]
        case _:
            return [write_smv(folder / "a.img", noise.astype("u2"))]


@pytest.mark.parametrize("kind", SUFFIXES)
def test_mutated_files_are_answered_in_time(tmp_path: Path, kind: str, figure: Say) -> None:
    rng = random.Random(SEED)
    (tmp_path / "whole").mkdir()
    whole = [(path.name, path.read_bytes()) for path in whole_files(tmp_path / "whole", kind)]
    count, outcomes, slowest = scaled(*COUNTS.get(kind, USUAL)), Counter[str](), 0.0
    with FrameReader(deadline=DEADLINE_S) as reader:
        for number in range(count):
            name, content = whole[number % len(whole)]
            path = tmp_path / f"{number:05}_{name}"
            path.write_bytes(mutate(content, rng))
            if number % 2:
                make_old(path)
            began = time.monotonic()
            outcomes[outcome(reader, path)] += 1
            slowest = max(slowest, time.monotonic() - began)
            path.unlink()
    figure(f"mutated {kind} files: {count} ({dict(outcomes)}), the slowest took {slowest:.1f} s")
    allowed = {"read", "SourceError", "NotYetError", "MissingError"}
    # The HDF5 library crashes or hangs on a few in a thousand: that costs a reader's process, and its file.
    assert outcomes.keys() <= (allowed | {"ReaderLostError"} if kind == "HDF5" else allowed)
    assert outcomes["ReaderLostError"] <= max(1, count // 50)


def outcome(reader: FrameReader, path: Path) -> str:
    """What reading all of a file that is asked for ends in."""
    try:
        info = reader.inspect(path, explain=True, around=True)
        reader.mask(info)
        if not info.available:
            return "NotYetError"
        frames = reader.read(path, info.dataset, 0, min(info.available, MOST_READ))
        assert frames.shape[1:] == info.shape
    except SourceError as error:
        return type(error).__name__
    return "read"
