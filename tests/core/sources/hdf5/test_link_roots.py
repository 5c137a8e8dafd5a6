"""Files that links lead to outside the folder of the file that was named: refused, unless their folder is allowed."""

from __future__ import annotations

import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import RecipeError, SourceError
from photon_triage.core.recipe import parse_recipe, recipe_text, with_roots
from photon_triage.core.sources import FolderWatch, FrameReader, inspect, read_frames
from tests.builders.detector_files import frames_of, write_segment


def write_master(tmp_path: Path, *, virtual: bool) -> tuple[Path, Path]:
    """A master and the folder beside its own that its frames lie in."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "raw").mkdir()
    source = write_segment(tmp_path / "raw" / "frames.h5", frames_of(3))
    master = tmp_path / "proc" / "all.h5"
    with h5py.File(master, "w") as file:
        if virtual:
            layout = h5py.VirtualLayout((3, 48, 64), "i2")
            layout[:] = h5py.VirtualSource(source, "/entry/data/data", (3, 48, 64))
            file.create_virtual_dataset("entry/data/data", layout)
        else:
            file["entry/data/data"] = h5py.ExternalLink("../raw/frames.h5", "/entry/data/data")
    return master, tmp_path / "raw"


@pytest.mark.parametrize("virtual", [False, True])
def test_a_folder_that_is_allowed_is_read(tmp_path: Path, virtual: bool) -> None:
    master, raw = write_master(tmp_path, virtual=virtual)

    with FrameReader() as strict, pytest.raises(SourceError, match="outside its folder") as told:
        strict.inspect(master)
    with FrameReader(roots=[str(raw)]) as reader:
        info = reader.inspect(master)
        frames = reader.read(master, info.dataset, 0, 3)

    assert "--root" in told.value.hint
    assert (info.frames, info.available) == (3, 3)
    np.testing.assert_array_equal(frames, frames_of(3))
    np.testing.assert_array_equal(read_frames(master, info.dataset, 1, 2, roots=[str(raw)]), frames_of(1, first=1))


def test_a_folder_whose_name_only_begins_alike_is_not_allowed(tmp_path: Path) -> None:
    master, raw = write_master(tmp_path, virtual=False)
    raw.rename(tmp_path / "raw2")
    (tmp_path / "raw").symlink_to(tmp_path / "raw2")

    with pytest.raises(SourceError, match="outside its folder"):
        inspect(master, roots=[str(tmp_path / "ra")])
    assert inspect(master, roots=[str(tmp_path / "raw")]).frames == 3


def test_links_in_a_watched_folder_lead_to_allowed_folders(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "store").mkdir()
    write_segment(tmp_path / "store" / "a.h5", frames_of(1))
    (tmp_path / "in" / "a.h5").symlink_to(tmp_path / "store" / "a.h5")

    assert FolderWatch([tmp_path / "in"]).scan() == []
    found = FolderWatch([tmp_path / "in"], roots=[str(tmp_path / "store")]).scan()
    assert [file.path for file in found] == [str(tmp_path / "store" / "a.h5")]


@pytest.mark.parametrize("table", ["", '\n[source]  # where\ndataset = "/a"\n'])
def test_folders_are_added_to_a_recipe(table: str) -> None:
    text = with_roots(recipe_text("sfx") + table, [Path('/data/"raw"/größe'), Path("/b")])

    source = parse_recipe(text, "test").source
    assert source.roots == ('/data/"raw"/größe', "/b")
    assert source.dataset == ("/a" if table else None)
    assert tomllib.loads(text)["stages"] == tomllib.loads(recipe_text("sfx"))["stages"]
    with pytest.raises(RecipeError, match="names roots itself"):
        with_roots(text, [Path("/c")])
