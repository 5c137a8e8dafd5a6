"""Formats of other packages: found by their entry points, loaded in the reader process, isolated there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader, inspect, registry
from tests.builders.detector_files import make_old

GOOD = """
import numpy as np
from pathlib import Path
from photon_triage.core.frames import Geometry
from photon_triage.core.sources.common.info import SourceInfo

class Frames:
    def __init__(self, path):
        raw = Path(path).read_bytes()
        self.shape, self.dtype = (raw[4], raw[5]), np.dtype("u1")
        self.pixels = np.frombuffer(raw[6:], "u1").reshape(-1, *self.shape)
    def read(self, start, stop, out):
        out[:] = self.pixels[start:stop]
    def present(self, start, stop):
        return [(start, stop)]
    def close(self):
        pass

def recognises(start):
    return start.startswith(b"RAWF")

def open_frames(state, dataset, layout=None):
    return Frames(state.path)

def probe(state, options):
    frames = Frames(state.path)
    count = len(frames.pixels)
    return SourceInfo(
        path=state.path, format="RAWF", layout="RAWF", dataset="", frames=count, available=count, complete=True,
        shape=frames.shape, dtype="uint8", compression="none", mask=None, geometry=Geometry(), simulated=False, run="r",
    ), frames
"""
FRAMES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that provides a format, with its entry point; its module is to be written."""
    folder = tmp_path / "packages"
    metadata = folder / "raw_format-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: raw-format\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[photon_triage.formats]\nRAWF.rawf = raw_format_of_test\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.syspath_prepend(str(folder))
    registry.other_formats.cache_clear()
    registry._loaded.cache_clear()
    yield folder / "raw_format_of_test.py"
    registry.other_formats.cache_clear()
    registry._loaded.cache_clear()


def write_raw(path: Path) -> Path:
    path.write_bytes(b"RAWF" + bytes(FRAMES.shape[1:]) + FRAMES.tobytes())
    return make_old(path)


def test_frames_of_another_packages_format(tmp_path: Path, package: Path) -> None:
    package.write_text(GOOD)
    path = write_raw(tmp_path / "a.rawf")

    with FrameReader() as reader:
        info = reader.inspect(path)
        frames = reader.read(info, info.dataset, 0, 2)

    assert (info.format, info.frames) == ("RAWF", 2)
    np.testing.assert_array_equal(frames, FRAMES)
    assert ".rawf" in registry.suffixes()


@pytest.mark.parametrize("content", ["import not_there_at_all", "raise SystemExit(3)", "recognises = None"])
def test_a_broken_format_is_told_and_the_reader_goes_on(tmp_path: Path, package: Path, content: str) -> None:
    package.write_text(content)
    path = write_raw(tmp_path / "a.rawf")

    with FrameReader() as reader:
        for _ in range(2):
            with pytest.raises(SourceError, match="RAWF"):
                reader.inspect(path)
            process = reader.pid
        assert process == reader.pid is not None


def test_a_broken_format_is_a_note_on_a_file_that_is_read_all_the_same(tmp_path: Path, package: Path) -> None:
    import h5py

    package.write_text("import not_there_at_all")
    path = tmp_path / "a.rawf"
    with h5py.File(path, "w") as file:
        file["stack"] = np.ones((2, 40, 40), np.uint16)

    assert any("not_there_at_all" in note for note in inspect(make_old(path)).notes)


def test_an_error_of_a_formats_code_is_told(tmp_path: Path, package: Path) -> None:
    package.write_text(GOOD.replace("frames = Frames(state.path)", "raise ZeroDivisionError('in the format')"))

    with FrameReader() as reader, pytest.raises(SourceError, match="in the format"):
        reader.inspect(write_raw(tmp_path / "a.rawf"))
