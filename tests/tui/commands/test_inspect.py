from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from .test_cli import run


def test_a_tiff_stack_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.ones((3, 32, 48), np.uint16), photometric="minisblack")
    code, out, _ = run(capsys, "inspect", str(path), "--json")
    assert code == 0
    found = json.loads(out)
    told = {name: found[name] for name in ("format", "dataset", "frames", "available", "shape", "dtype", "simulated")}
    assert told == {
        "format": "TIFF",
        "dataset": "",
        "frames": 3,
        "available": 3,
        "shape": [32, 48],
        "dtype": "uint16",
        "simulated": False,
    }


def test_the_data_set_can_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["one"] = np.ones((2, 32, 32), np.int32)
        file["other"] = np.ones((5, 40, 40), np.int32)
    code, out, _ = run(capsys, "inspect", str(path), "--dataset", "/one")
    assert code == 0
    assert "2 of 2 readable" in out and "32 x 32 int32" in out


def test_a_file_that_is_none_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "broken.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + b"\xff" * 500)
    code, out, err = run(capsys, "inspect", str(path))
    assert (code, out) == (1, "")
    assert str(path) in err


def test_a_named_pipe_does_not_hang_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "pipe.h5"
    os.mkfifo(path)
    assert run(capsys, "inspect", str(path))[0] == 1


def test_the_choice_is_explained(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.ones((2, 32, 32), np.int32)
        file["pixel_mask"] = np.ones((64, 64), np.uint8)
    code, out, _ = run(capsys, "inspect", str(path))
    assert code == 0
    assert "the largest of 2 data sets" in out and "/pixel_mask (64 x 64 uint8): a mask" in out
    _, out, _ = run(capsys, "inspect", str(path), "--json")
    assert json.loads(out)["alternatives"][0]["path"] == "/pixel_mask"
