from __future__ import annotations

import csv
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import UsageError
from photon_triage.core.radial import q_map
from photon_triage.core.session.decisions.label_files import read_labels
from photon_triage.core.simulate.beamtime import Beamtime, spi, write_beamtime
from photon_triage.core.simulate.spi import NOMINAL, SpiRun, detector_mask
from photon_triage.core.simulate.writers import TRUTH_FILE
from photon_triage.core.sources import inspect, read_frames, read_mask


def test_cxi_files_read_back_as_what_was_simulated(tmp_path: Path) -> None:
    assert write_beamtime(Beamtime(tmp_path, 5, runs=2, seed=4), spi()) == 5
    info = inspect(tmp_path / "run_0001.cxi")
    assert (info.layout, info.frames, info.complete, info.simulated, info.run) == ("CXI", 3, True, True, "run_0001")
    assert info.geometry.photon_energy_ev == pytest.approx(NOMINAL.photon_energy_ev)
    assert q_map(info.geometry, 1.0) == pytest.approx(4.97e-3, rel=1e-3)
    frames = read_frames(info.path, info.dataset, 0, 3)
    expected = SpiRun(4, 1)
    assert all(np.array_equal(frames[index], expected.frame(index)[0]) for index in range(3))
    mask = read_mask(info)
    assert mask is not None and np.array_equal(mask, detector_mask() == 0)


def test_tiff_files_say_the_same_with_gaps_below_zero(tmp_path: Path) -> None:
    write_beamtime(Beamtime(tmp_path, 2, seed=4, format="tiff"), spi())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["run_0001_00000.tif", "run_0001_00001.tif", TRUTH_FILE]
    info = inspect(tmp_path / "run_0001_00001.tif")
    assert info.simulated and info.run == "run_0001" and info.geometry == NOMINAL
    frame = read_frames(info.path, "", 0, 1)[0]
    assert np.array_equal(frame, np.where(detector_mask() == 0, SpiRun(4, 1).frame(1)[0], -1))


def test_truth_stands_beside_the_data_and_nowhere_else(tmp_path: Path) -> None:
    write_beamtime(Beamtime(tmp_path, 40, seed=1), spi(blanks=0.1, singles=0.3))
    labels = read_labels(tmp_path / TRUTH_FILE)
    assert len(labels) == 40
    assert all((label.verdict == "accepted") == (label.category == "single") for label in labels)
    run = SpiRun(1, 1, blanks=0.1, singles=0.3)
    assert [label.category for label in labels] == [run.frame(index)[1].category for index in range(40)]
    held: list[str] = []
    with h5py.File(tmp_path / "run_0001.cxi", "r", locking=False) as file:
        file.visititems(lambda name, item: held.append(name + "".join(map(str, item.attrs.items()))))
    assert not any(word in name for name in held for word in ("truth", "single", "class", "label", "water"))


def test_a_simulation_never_writes_over_another(tmp_path: Path) -> None:
    write_beamtime(Beamtime(tmp_path, 1), spi())
    with pytest.raises(UsageError, match="holds a truth"):
        write_beamtime(Beamtime(tmp_path, 1), spi())


def test_frames_come_at_the_rate_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.monotonic", lambda: 100.0)
    monkeypatch.setattr("time.sleep", slept.append)
    write_beamtime(Beamtime(tmp_path, 3, rate=20.0), spi())
    assert slept == pytest.approx([0.05, 0.10, 0.15])


def test_truth_rows_say_where_the_frame_is(tmp_path: Path) -> None:
    write_beamtime(Beamtime(tmp_path, 2), spi())
    with (tmp_path / TRUTH_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["dataset"], row["index"]) for row in rows] == [
        ("run_0001.cxi", "/entry_1/data_1/data", str(index)) for index in range(2)
    ]
