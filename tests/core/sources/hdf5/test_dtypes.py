"""Frames of any dtype and shape: handed over exactly, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FrameReader
from photon_triage.core.sources.hdf5.axis_view import image_dtype
from tests.builders.detector_files import make_old, write_plain

READ = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]
READ += [f">{name}" for name in READ[2:] if name[-1] != "1"]
REFUSED: dict[str, Any] = {
    "complex64": "c8",
    "complex128": "c16",
    "records": [("x", "f4"), ("y", "i2")],
    "texts": "S5",
    "longdouble": np.longdouble,
    "opaque": "V4",
    "arrays": np.dtype(("i4", (3,))),
}
SHAPES = [(1, 1), (8, 8), (1, 64), (40_000, 10), (33, 37)]


@pytest.fixture(scope="module")
def reader() -> Iterator[FrameReader]:
    with FrameReader() as reader:
        yield reader


def values(dtype: Any, shape: tuple[int, ...]) -> Any:
    """Extreme values first: the largest, the smallest, and 2^53 + 1, which a float64 has not."""
    frame = (np.arange(np.prod(shape), dtype=np.int64) % 2000).reshape(shape).astype(dtype)
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        frame.flat[0], frame.flat[-1] = limits.max, limits.min
        frame.flat[frame.size // 2] = min(limits.max, 2**53 + 1)
    return frame


@pytest.mark.parametrize("options", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip", "shuffle": True}])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", READ)
def test_hdf5_frames_come_exactly(
    tmp_path: Path, reader: FrameReader, dtype: str, shape: tuple[int, int], options: dict[str, Any]
) -> None:
    frames = values(dtype, shape if shape == (1, 1) else (2, *shape))  # a third axis of one pixel is no axis of images
    path = make_old(write_plain(tmp_path / "a.h5", "images", frames, **options))

    (survey,) = reader.survey([str(path)], "/images", read_bytes=2**26)

    assert survey.info is not None and survey.frames is not None
    assert survey.frames.dtype == image_dtype(np.dtype(dtype)) == survey.info.dtype
    np.testing.assert_array_equal(survey.frames, frames.reshape(-1, *shape))
    np.testing.assert_array_equal(reader.read(survey.info, "/images", 0, 1)[0], frames.reshape(-1, *shape)[0])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", READ)
def test_tiff_frames_come_exactly(
    tmp_path: Path, reader: FrameReader, dtype: str, shape: tuple[int, int], compression: str | None
) -> None:
    frame = values(dtype, shape)
    path = tmp_path / "a.tif"
    order: dict[str, Any] = {"byteorder": ">" if dtype.startswith(">") else "<"}
    tifffile.imwrite(path, frame, photometric="minisblack", compression=compression, **order)

    (survey,) = reader.survey([str(make_old(path))], read_bytes=2**26)

    assert survey.frames is not None and survey.frames.dtype == image_dtype(np.dtype(dtype))
    np.testing.assert_array_equal(survey.frames[0], frame)


@pytest.mark.parametrize("dtype", REFUSED.values(), ids=REFUSED)
def test_other_dtypes_are_refused_by_name_and_shape(tmp_path: Path, reader: FrameReader, dtype: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (2, 40, 50), dtype)
    make_old(tmp_path / "a.h5")

    for name in ("/images", None):
        (survey,) = reader.survey([str(tmp_path / "a.h5")], name)
        assert survey.error is not None and survey.error.title == "File not readable"
        assert ("(2, 40, 50" if name else "2x40x50") in survey.error.message
    with pytest.raises(SourceError, match="no stack of images"):
        reader.read(tmp_path / "a.h5", "/images", 0, 1)


@pytest.mark.parametrize(
    "kind", [h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype, h5py.opaque_dtype("M8[s]")]
)
def test_objects_are_refused(tmp_path: Path, reader: FrameReader, kind: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", (2, 40, 50), kind)

    with pytest.raises(SourceError, match=r"shape \(2, 40, 50\), dtype"):
        reader.inspect(tmp_path / "a.h5", "/images")


def test_a_type_that_numpy_has_not_is_refused(tmp_path: Path, reader: FrameReader) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple((2, 40, 50))
        h5py.h5d.create(file.id, b"images", h5py.h5t.UNIX_D32LE, space)

    with pytest.raises(SourceError, match=r"shape \(2, 40, 50\), dtype unknown"):
        reader.inspect(tmp_path / "a.h5", "/images")


@pytest.mark.parametrize("shape", [(2, 0, 64), (2, 48, 0), (0, 0)])
def test_frames_without_pixels_are_refused(tmp_path: Path, reader: FrameReader, shape: tuple[int, ...]) -> None:
    path = write_plain(tmp_path / "a.h5", "images", np.zeros(shape, "u2"))

    with pytest.raises(SourceError, match="frames without pixels") as told:
        reader.inspect(path, "/images")
    assert str(shape) in told.value.message and "uint16" in told.value.message


def test_a_stack_without_frames_is_empty(tmp_path: Path, reader: FrameReader) -> None:
    path = make_old(write_plain(tmp_path / "a.h5", "images", np.zeros((0, 48, 64), "u2")))

    (survey,) = reader.survey([str(path)], "/images", read_bytes=2**20)

    assert survey.info is not None and survey.info.frames == 0 and survey.frames is None


def test_numbers_of_an_enumeration_are_numbers(tmp_path: Path, reader: FrameReader) -> None:
    kind = h5py.enum_dtype({"gap": 0, "counts": 1, "hot": 2}, "i2")
    frames = values("i2", (2, 40, 50))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=frames, dtype=kind)

    np.testing.assert_array_equal(reader.read(tmp_path / "a.h5", "/images", 0, 2), frames)


@pytest.mark.parametrize("dtype", ["c8", "c16"])
def test_a_complex_tiff_is_refused_by_name_and_shape(tmp_path: Path, reader: FrameReader, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 50), dtype), photometric="minisblack")

    with pytest.raises(SourceError, match=rf"\(40, 50\), dtype {np.dtype(dtype).name}"):
        reader.inspect(tmp_path / "a.tif")
