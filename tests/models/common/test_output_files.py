from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.models.common.output_files import atomic_path


def test_a_file_takes_its_name_when_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("before")
    with atomic_path(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before"
        assert partial.parent == tmp_path
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_the_old_file_stands_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError), atomic_path(path) as partial, partial.open("w", encoding="ascii") as file:
        file.write("the first half and\nß")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_comes_with_all_that_is_in_it_or_not_at_all(tmp_path: Path, fails: bool) -> None:
    path = tmp_path / "lists"
    try:
        with atomic_path(path, folder=True) as partial:
            (partial / "inner").mkdir()
            (partial / "inner" / "a.txt").write_text("a")
            if fails:
                raise OSError
    except OSError:
        assert list(tmp_path.iterdir()) == []
    else:
        assert [each.name for each in path.rglob("*.txt")] == ["a.txt"]
        assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lists"
    path.mkdir()
    (path / "kept.txt").write_text("kept")
    with pytest.raises(OSError, match="not empty"), atomic_path(path, folder=True):
        pass
    assert (path / "kept.txt").exists()
    assert list(tmp_path.iterdir()) == [path]
