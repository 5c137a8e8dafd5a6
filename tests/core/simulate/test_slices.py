from __future__ import annotations

from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import UsageError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.label_files import read_labels
from photon_triage.core.simulate import beamtime
from photon_triage.core.simulate.beamtime import Beamtime, Simulation, cryoet, tomo, write_beamtime
from photon_triage.core.simulate.volume import SliceTruth
from photon_triage.core.simulate.writers import true_mask
from photon_triage.core.sources import FolderWatch, FrameReader, inspect, read_frames

SIZE = 96
KINDS = {"tomo": tomo(SIZE), "cryoet": cryoet(SIZE)}
both = pytest.mark.parametrize("kind", KINDS)


def files(folder: Path) -> list[str]:
    return [Path(file.path).name for file in FolderWatch([folder]).scan()]


@both
def test_volumes_read_back_as_what_was_simulated(tmp_path: Path, kind: str) -> None:
    simulation = KINDS[kind]
    assert write_beamtime(Beamtime(tmp_path, 5, runs=2, seed=4), simulation) == 5
    info = inspect(tmp_path / "run_0001.h5")
    assert (info.layout, info.frames, info.complete, info.simulated, info.run) == (
        "DataExchange", 3, True, True, "run_0001",
    )  # fmt: skip
    read = read_frames(info.path, info.dataset, 0, 3)
    run = simulation.run(4, 1)
    assert all(np.array_equal(read[index], run.frame(index)[0]) for index in range(3))


@both
def test_tiff_slices_say_the_same(tmp_path: Path, kind: str) -> None:
    simulation = KINDS[kind]
    write_beamtime(Beamtime(tmp_path, 2, seed=4, format="tiff"), simulation)
    assert sorted(files(tmp_path)) == ["run_0001_00000.tif", "run_0001_00001.tif"]
    info = inspect(tmp_path / "run_0001_00001.tif")
    assert info.simulated and info.run == "run_0001" and info.geometry.pixel_size is not None
    assert np.array_equal(read_frames(info.path, "", 0, 1)[0], simulation.run(4, 1).frame(1)[0])


@both
def test_a_growing_file_is_read_slice_by_slice(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beamtime, "FLUSH_S", 0.0)
    seen: list[tuple[int, bool]] = []
    with FrameReader() as reader:

        def look(count: int, truth: SliceTruth) -> None:
            info = reader.inspect(tmp_path / "run_0001.h5")
            seen.append((info.available, info.complete))

        write_beamtime(Beamtime(tmp_path, 3), KINDS[kind], look)
    assert seen == [(1, False), (2, False), (3, True)]


@both
def test_no_stage_can_read_the_truth(tmp_path: Path, kind: str) -> None:
    write_beamtime(Beamtime(tmp_path, 3, seed=1), KINDS[kind])
    assert files(tmp_path) == ["run_0001.h5"]
    assert not [name for folder in (tmp_path / "truth", tmp_path / "truth" / "masks") for name in files(folder)]
    held: list[str] = []
    with h5py.File(tmp_path / "run_0001.h5", "r", locking=False) as file:
        file.visititems(lambda name, item: held.append(name + "".join(map(str, item.attrs.items()))))
    assert held and not any(word in name for name in held for word in ("truth", "mask", "class", "point", "label"))


@both
@pytest.mark.parametrize("format", ["hdf5", "tiff"])
def test_every_slice_has_its_mask(tmp_path: Path, kind: str, format: Literal["hdf5", "tiff"]) -> None:
    truths: list[SliceTruth] = []
    job = Beamtime(tmp_path, 3, runs=2, seed=1, format=format)
    write_beamtime(job, KINDS[kind], lambda count, truth: truths.append(truth))
    infos = [inspect(tmp_path / name) for name in sorted(files(tmp_path))]
    keys = [FrameKey(info.path, info.dataset, index) for info in infos for index in range(info.frames)]
    assert len(keys) == len(truths) == 3
    for key, truth in zip(keys, truths, strict=True):
        assert np.array_equal(true_mask(tmp_path, key), truth.classes)


def test_points_are_labels_of_candidates(tmp_path: Path) -> None:
    simulation = cryoet(256)
    truths: list[SliceTruth] = []
    write_beamtime(Beamtime(tmp_path, 6, seed=2), simulation, lambda count, truth: truths.append(truth))
    labels = read_labels(tmp_path / "truth" / "points.csv")
    expected = [(index, point) for index, truth in enumerate(truths) for point in truth.points]
    assert expected and [(label.key.index, label.key.point) for label in labels] == expected
    assert {label.key.file for label in labels} == {str(tmp_path.resolve() / "run_0001.h5")}
    assert {(label.verdict, label.category) for label in labels} == {("accepted", "particle")}


def test_tomography_has_no_points(tmp_path: Path) -> None:
    write_beamtime(Beamtime(tmp_path, 1), tomo(SIZE))
    assert [path.name for path in (tmp_path / "truth").iterdir()] == ["masks"]


@both
def test_a_simulation_never_writes_over_another(tmp_path: Path, kind: str) -> None:
    write_beamtime(Beamtime(tmp_path, 1), KINDS[kind])
    with pytest.raises(UsageError, match="holds a truth"):
        write_beamtime(Beamtime(tmp_path, 1), KINDS[kind])


def test_more_runs_than_slices_leave_no_empty_file(tmp_path: Path) -> None:
    simulation: Simulation[SliceTruth] = tomo(SIZE)
    assert write_beamtime(Beamtime(tmp_path, 2, runs=4), simulation) == 2
    assert files(tmp_path) == ["run_0001.h5", "run_0002.h5"]
