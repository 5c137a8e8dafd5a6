"""CrystFEL's names of frames that are more than an index of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.export import export
from photon_triage.core.session.session import Session
from photon_triage.core.sources import FrameReader, inspect
from tests.builders.detector_files import frames_of, make_old, write_cxi, write_eiger_legacy, write_plain
from tests.builders.facility_files import write_nxtomo, write_sacla_run, write_sacla_tags

from ..session.builders import build_session


def events(path: Path) -> list[str]:
    info = inspect(path)
    with FrameReader() as reader:
        return reader.events(path, info.dataset, range(info.frames))


def test_a_group_that_holds_a_frame_names_it(tmp_path: Path) -> None:
    assert events(write_sacla_tags(tmp_path / "a.h5", frames_of(3), [9, 100, 11])) == [
        "tag-9//",
        "tag-11//",
        "tag-100//",
    ]
    assert events(write_sacla_run(tmp_path / "b.h5", frames_of(2), [7, 8])) == ["tag_7//", "tag_8//"]


def test_two_axes_that_count_frames(tmp_path: Path) -> None:
    path = make_old(write_plain(tmp_path / "x.h5", "scan", frames_of(6).reshape(2, 3, 48, 64)))
    assert events(path) == ["//0/0", "//0/1", "//0/2", "//1/0", "//1/1", "//1/2"]


def test_a_single_image_is_event_0(tmp_path: Path) -> None:
    assert events(write_plain(tmp_path / "x.h5", "image", frames_of(1)[0])) == ["//0"]


def test_a_projection_is_named_by_its_place_among_the_flats(tmp_path: Path) -> None:
    assert events(write_nxtomo(tmp_path / "x.nxs", frames_of(4), [1, 0, 2, 0])) == ["//1", "//3"]


def test_frames_of_several_files_are_numbered_through_the_master(tmp_path: Path) -> None:
    assert events(write_eiger_legacy(tmp_path, frames_of(5, dtype="u4"), per_file=3)) == [f"//{n}" for n in range(5)]


@pytest.fixture
def tagged(tmp_path: Path) -> tuple[Session, Path]:
    path = write_sacla_tags(tmp_path / "a b.h5", frames_of(3), [9, 100, 11])
    return build_session(tmp_path / "s", {str(path): [0.9, 0.1, 0.8]}, dataset="/%/data"), path


def test_a_list_of_tagged_frames(tagged: tuple[Session, Path], tmp_path: Path) -> None:
    session, path = tagged
    done = export(session, "crystfel", "predicted", 0.5, tmp_path / "out.lst")
    assert done.path.read_text() == f"{path} tag-9//\n{path} tag-100//\n"


def test_tagged_frames_of_a_file_that_is_gone_are_not_listed(tagged: tuple[Session, Path], tmp_path: Path) -> None:
    session, path = tagged
    path.unlink()
    with pytest.raises(ExportError, match="event is named by the file"):
        export(session, "crystfel", "predicted", 0.5, tmp_path / "out.lst")
    assert not (tmp_path / "out.lst").exists()


def test_frames_of_a_plain_file(tmp_path: Path) -> None:
    path = write_cxi(tmp_path / "a.cxi", frames_of(2))
    session = build_session(tmp_path / "s", {str(path): [0.9, 0.9]}, dataset="/entry_1/data_1/data")
    done = export(session, "crystfel", "predicted", 0.5, tmp_path / "out.lst")
    assert done.path.read_text() == f"{path} //0\n{path} //1\n"
