from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import h5py
import pytest

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources import FolderWatch, inspect
from photon_triage.core.sources.common.names import run_name
from tests.builders.detector_files import frames_of, write_plain


def names(watch: FolderWatch) -> list[str]:
    return [Path(file.path).name for file in watch.scan()]


def touch(path: Path, content: str = "x", mtime: float = 1000.0) -> Path:
    path.write_text(content)
    os.utime(path, (mtime, mtime))
    return path


def test_the_first_scan_gives_all_and_the_next_only_new(tmp_path: Path) -> None:
    touch(tmp_path / "a.h5")
    watch = FolderWatch([tmp_path])
    assert names(watch) == ["a.h5"]

    touch(tmp_path / "b.tif")
    assert names(watch) == ["b.tif"]
    assert names(watch) == []


def test_a_grown_file_is_seen_again(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.h5")
    watch = FolderWatch([tmp_path])
    watch.scan()
    touch(path, "xx")

    (file,) = watch.scan()

    assert file.size == 2


def test_a_file_that_was_replaced_is_seen_again(tmp_path: Path) -> None:
    now = 0.0
    watch = FolderWatch([touch(tmp_path / "a.h5").parent], clock=lambda: now)
    watch.scan()
    now = 59.0
    watch.scan()
    now = 61.0
    watch.scan()
    now = 70.0
    touch(tmp_path / "new").rename(tmp_path / "a.h5")

    assert names(watch) == ["a.h5"]


def test_every_file_at_rest_is_asked_about_within_a_minute(tmp_path: Path) -> None:
    now = 0.0
    paths = [touch(tmp_path / f"{number}.h5") for number in range(1000)]
    watch = FolderWatch([tmp_path], clock=lambda: now)
    assert len(watch.scan()) == 1000
    for path in paths:
        touch(path, "xx")
    seen = set()
    for second in range(1, 71):
        now = float(second)
        found = names(watch)
        assert len(found) < 500, "a few at a time, for a large folder costs much at once"
        seen |= {int(name.removesuffix(".h5")) for name in found}
    assert seen == set(range(1000))


def test_a_folder_that_cannot_be_listed_keeps_its_files_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "a.h5")
    watch = FolderWatch([tmp_path])
    assert names(watch) == ["a.h5"]
    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", Mock(side_effect=OSError(errno.ESTALE, "Stale file handle")))
        assert names(watch) == [] and watch.problems == {str(tmp_path): "Stale file handle"}
    assert names(watch) == [] and not watch.problems


def test_data_files_without_their_master_any_more_are_files_of_their_own(tmp_path: Path) -> None:
    for name in ("a_master.h5", "a_data_000001.h5"):
        touch(tmp_path / name)
    watch = FolderWatch([tmp_path])
    assert names(watch) == ["a_master.h5"]
    (tmp_path / "a_master.h5").unlink()
    assert names(watch) == ["a_data_000001.h5"]


def test_a_file_that_is_gone_and_comes_back_is_new(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.h5")
    watch = FolderWatch([tmp_path])
    watch.scan()
    path.unlink()
    assert names(watch) == []

    touch(path)
    assert names(watch) == ["a.h5"]


def test_by_time_then_by_number(tmp_path: Path) -> None:
    for name, mtime in (("f_10.tif", 5.0), ("f_9.tif", 5.0), ("z.tif", 1.0)):
        touch(tmp_path / name, mtime=mtime)

    assert names(FolderWatch([tmp_path])) == ["z.tif", "f_9.tif", "f_10.tif"]


def test_what_is_no_detector_file_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    touch(tmp_path / ".a.h5")
    touch(tmp_path / "b.h5.tmp")
    (tmp_path / "folder.h5").mkdir()
    os.mkfifo(tmp_path / "fifo.h5")
    touch(tmp_path / "C.H5")

    assert names(FolderWatch([tmp_path])) == ["C.H5"]


def test_links_out_of_the_folder_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "out.h5").symlink_to(touch(tmp_path / "a.h5"))
    (folder / "in.h5").symlink_to(touch(folder / "b.h5"))
    (folder / "nowhere.h5").symlink_to(folder / "missing.h5")

    assert {file.path for file in FolderWatch([folder]).scan()} == {str((folder / "b.h5").resolve())}


def test_a_folder_may_come_later(tmp_path: Path) -> None:
    watch = FolderWatch([tmp_path / "run"])
    assert watch.scan() == []

    (tmp_path / "run").mkdir()
    touch(tmp_path / "run" / "a.h5")
    assert names(watch) == ["a.h5"]


def test_a_pattern_takes_in_new_folders(tmp_path: Path) -> None:
    watch = FolderWatch([tmp_path / "run_*"])
    for name in ("run_1", "run_2", "other"):
        (tmp_path / name).mkdir()
        touch(tmp_path / name / f"{name}.h5")

    assert names(watch) == ["run_1.h5", "run_2.h5"]


def test_a_single_file_is_watched(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.h5")
    touch(tmp_path / "b.h5")
    watch = FolderWatch([path])
    assert names(watch) == ["a.h5"]

    touch(path, "xx")
    assert names(watch) == ["a.h5"]


def test_numbered_files_stand_behind_their_master(tmp_path: Path) -> None:
    for name in ("a_master.h5", "a_data_000001.h5", "b_data_000001.h5"):
        touch(tmp_path / name)

    assert names(FolderWatch([tmp_path])) == ["a_master.h5", "b_data_000001.h5"]


@pytest.mark.parametrize(
    ("name", "single", "run"),
    [
        ("run_0001_00012.tif", True, "run_0001"),
        ("run_0001.tif", True, "run_0001"),
        ("lysozyme-0012.tif", True, "lysozyme"),
        ("11.tif", True, "folder"),
        ("thaumatin_grid_odd.h5", False, "thaumatin_grid_odd"),
        ("run_0001_00012.h5", False, "run_0001"),
        ("lyso_3.h5", False, "lyso_3"),
        ("lyso_1_master.h5", False, "lyso_1"),
        ("lyso_1_data_000003.h5", False, "lyso_1"),
    ],
)
def test_the_run_of_a_name(name: str, single: bool, run: str) -> None:
    assert run_name(f"/folder/{name}", one_of_many=single) == run


def test_files_of_other_names_that_begin_as_detector_files_do_are_read(tmp_path: Path) -> None:
    for name in ("frames.dat", "lysozyme_0001", "stack.h5_1", "run.0007"):
        write_plain(tmp_path / name, "images", frames_of(1))
    with h5py.File(tmp_path / "matlab.mat", "w", userblock_size=512) as file:
        file["images"] = frames_of(1)
    (tmp_path / "report.json5").write_text('{"a": 1,\n "b = c;": 2}')
    touch(tmp_path / "README", "some text that is long enough")
    watch = FolderWatch([tmp_path])

    assert set(names(watch)) == {"frames.dat", "lysozyme_0001", "stack.h5_1", "run.0007", "matlab.mat"}
    assert watch.ignored == {".json5": 1, "": 1}


def test_a_file_of_another_name_is_read_once_it_tells_its_format(tmp_path: Path) -> None:
    path = touch(tmp_path / "frames", "")
    watch = FolderWatch([tmp_path])
    assert (names(watch), watch.ignored) == ([], {"": 1})

    write_plain(path, "images", frames_of(1))
    assert (names(watch), watch.ignored) == (["frames"], {})
    assert names(watch) == []


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_files_compressed_as_a_whole_are_named(tmp_path: Path, ending: str) -> None:
    path = touch(tmp_path / f"a.cbf{ending}", "\x1f")
    path.write_bytes({".gz": b"\x1f\x8b", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"}[ending])

    assert names(FolderWatch([tmp_path])) == [path.name]
    with pytest.raises(SourceError, match="compressed as a whole"):
        inspect(path)


def test_what_is_ignored_is_counted_by_suffix(tmp_path: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.png", "d.h5", "e.h5.part", ".hidden"):
        touch(tmp_path / name)
    (tmp_path / "inner").mkdir()
    watch = FolderWatch([tmp_path])
    watch.scan()
    assert watch.ignored == {".part": 1, ".png": 1, ".txt": 2, "folders": 1}

    (tmp_path / "a.txt").unlink()
    watch.scan()
    assert watch.ignored[".txt"] == 1
