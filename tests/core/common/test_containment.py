from __future__ import annotations

import json
import logging
import os
import zipfile
from pathlib import Path

import pytest

from photon_triage.core.common import containment
from photon_triage.core.common.containment import RefusedError
from photon_triage.models.common.input_files import DEEPEST, parse_json, require_modest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "inner").mkdir(parents=True)
    (tmp_path / "root" / "file").write_text("ours")
    (tmp_path / "outside").write_text("theirs")
    return tmp_path / "root"


def test_a_link_within_the_root_is_followed(root: Path) -> None:
    (root / "inner" / "link").symlink_to("../file")
    assert containment.read_text(root / "inner" / "link", root) == "ours"


def test_a_root_that_is_a_link_itself_is_no_link_out(root: Path) -> None:
    (root.parent / "other").symlink_to(root)
    assert containment.read_text(root.parent / "other" / "file", root.parent / "other") == "ours"


@pytest.mark.parametrize("target", ["../outside", "../not there", "/dev/null", "/proc/self/mem"])
def test_a_link_out_is_refused_to_read_and_to_write(root: Path, target: str) -> None:
    (root / "link").symlink_to(target)
    for flags in (os.O_RDONLY, os.O_WRONLY | os.O_CREAT):
        with pytest.raises(RefusedError, match="link that leads out"):
            containment.open_regular(root / "link", root, flags)
    assert not (root.parent / "not there").exists()


def test_a_folder_that_leads_out_is_refused(root: Path) -> None:
    (root / "folder").symlink_to(root.parent)
    with pytest.raises(RefusedError, match="link that leads out"):
        containment.read_bytes(root / "folder" / "outside", root)
    with pytest.raises(RefusedError):
        containment.make_folder(root / "folder" / "new", root)
    assert containment.regular_files(root / "folder", root) == []


def test_what_is_no_file_is_refused_with_its_kind(root: Path) -> None:
    os.mkfifo(root / "pipe")
    for name, kind in (("pipe", "named pipe"), ("inner", "folder")):
        with pytest.raises(RefusedError, match=f"it is a {kind}"):
            containment.read_bytes(root / name, root)
        with pytest.raises(RefusedError, match=f"it is a {kind}"):
            containment.open_to_append(root / name, root)


def test_a_file_with_another_name_is_read_and_not_written(root: Path) -> None:
    (root / "hard").hardlink_to(root.parent / "outside")
    assert containment.read_text(root / "hard", root) == "theirs"
    with pytest.raises(RefusedError, match="hard link"):
        containment.open_to_append(root / "hard", root)


def test_more_bytes_than_expected_are_not_read(root: Path) -> None:
    os.truncate(root / "file", 2**40)
    with pytest.raises(RefusedError, match=r"1,099,511,627,776 bytes, at most 1,048,576"):
        containment.read_bytes(root / "file", root)


def test_a_refused_entry_costs_one_line(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(root / "pipe.txt")
    (root / "good.txt").touch()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert containment.regular_files(root, root, suffix=".txt") == [root / "good.txt"]
    assert [record.getMessage() for record in caplog.records if "pipe.txt" in record.getMessage()] == [
        f"Skipped {root / 'pipe.txt'}: it is no regular file."
    ]


@pytest.mark.parametrize("depth", [DEEPEST + 1, 500, 100_000])
def test_json_is_read_to_a_depth(depth: int) -> None:
    assert parse_json("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(json.dumps({"many": [[1]] * 1000})) == {"many": [[1]] * 1000}
    with pytest.raises(ValueError, match="nested"):
        parse_json('{"a":' * depth + "1" + "}" * depth)


def test_an_archive_is_held_to_what_it_unpacks_to(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2**25))
    with (tmp_path / "bomb.zip").open("rb") as file:
        with pytest.raises(RefusedError, match="more than 200 for one"):
            require_modest(file, 2**30)
        with pytest.raises(RefusedError, match="at most 1,000"):
            require_modest(file, 1000)
        assert file.tell() == 0
