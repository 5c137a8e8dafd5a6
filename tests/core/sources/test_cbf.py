from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.common.errors import NotYetError, SourceError
from photon_triage.core.sources import inspect, read_frames
from tests.builders.detector_files import frames_of, make_old
from tests.builders.image_files import write_cbf, write_edf, write_smv

pytest.importorskip("fabio", reason="the extra `cbf` is not installed")


def test_a_pilatus_cbf_gives_its_frame_and_geometry(tmp_path: Path) -> None:
    frame = frames_of(1, dtype="i4")[0]
    frame[5] = -1
    path = write_cbf(tmp_path / "lyso_00012.cbf", frame)

    info = inspect(path)

    assert (info.format, info.frames, info.shape, info.dtype, info.run) == ("CBF", 1, (48, 64), "int32", "lyso")
    assert info.compression == "byte offset" and info.complete
    assert info.geometry.detector_distance == 0.29147 and info.geometry.pixel_size == pytest.approx(172e-6)
    assert info.geometry.photon_energy_ev == pytest.approx(12700, rel=1e-3)
    assert (info.geometry.beam_center_x, info.geometry.beam_center_y) == (1229.30, 1200.48)
    np.testing.assert_array_equal(read_frames(path, "", 0, 1)[0], frame)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_the_images_of_an_edf_are_frames(tmp_path: Path, dtype: str) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(3, dtype=dtype))

    info = inspect(make_old(path))

    assert (info.format, info.frames, info.dtype, info.complete) == ("EDF", 3, np.dtype(dtype).name, True)
    assert (info.geometry.detector_distance, info.geometry.pixel_size) == (0.25, 7.5e-5)
    np.testing.assert_array_equal(read_frames(path, "", 1, 3), frames_of(3, dtype=dtype)[1:])


def test_an_adsc_img_is_a_frame(tmp_path: Path) -> None:
    path = write_smv(tmp_path / "a_001.img", frames_of(1)[0])

    info = inspect(path)

    assert (info.format, info.frames, info.shape, info.dtype) == ("SMV", 1, (48, 64), "uint16")
    assert info.geometry.pixel_size == pytest.approx(102.4e-6)
    assert info.geometry.detector_distance == pytest.approx(0.2)
    np.testing.assert_array_equal(read_frames(path, "", 0, 1), frames_of(1))


@pytest.mark.parametrize("write", [write_cbf, write_smv])
def test_a_file_that_is_still_copied_is_waited_for(tmp_path: Path, write: object) -> None:
    assert callable(write)
    whole = write(tmp_path / "whole", frames_of(1, dtype="i4")[0]).read_bytes()
    part = tmp_path / ("part.cbf" if write is write_cbf else "part.img")
    for size in (0, 4, 100, len(whole) // 2, len(whole) - 300):
        part.write_bytes(whole[:size])
        with pytest.raises(NotYetError):
            inspect(part)


def test_an_image_of_terabytes_is_refused(tmp_path: Path) -> None:
    path = write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0])
    path.write_bytes(path.read_bytes().replace(b"Fastest-Dimension: 64", b"Fastest-Dimension: 64000000000"))

    with pytest.raises(SourceError, match="more than the limit"):
        inspect(path)


def test_panels_and_codes_that_fabio_does_not_read_are_named(tmp_path: Path) -> None:
    path = write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0])
    whole = path.read_bytes()

    path.write_bytes(whole.replace(b"Second-Dimension: 48", b"Second-Dimension: 6\r\nX-Binary-Size-Third-Dimension: 8"))
    with pytest.raises(SourceError, match="no single image"):
        inspect(path)
    path.write_bytes(whole.replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED"))
    with pytest.raises(SourceError, match="compressed as packed"):
        inspect(path)


def test_an_edf_that_leads_to_another_file_is_refused(tmp_path: Path) -> None:
    path = write_edf(tmp_path / "a.edf", frames_of(1))
    path.write_bytes(path.read_bytes().replace(b"{", b"{\nEDF_BinaryFileName = /etc/passwd ;", 1))

    with pytest.raises(SourceError, match="another file"):
        inspect(path)


def test_without_fabio_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_cbf(tmp_path / "a.cbf", frames_of(1, dtype="i4")[0])
    monkeypatch.setitem(sys.modules, "fabio.compression", None)

    with pytest.raises(SourceError, match="not installed") as told:
        inspect(path)
    assert "photon-triage[cbf]" in told.value.hint
