"""Notes on files from the reader to the ledger, and files that a scan ignores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.engine.record import notes_on
from photon_triage.core.frames import Geometry
from photon_triage.core.session.session import Session
from photon_triage.core.sources import inspect

from ...tui.commands.test_cli import run

RECIPE = """
name = "notes"

[geometry]
beam_center_x = 20
beam_center_y = 18

[[stages]]
kind = "lit-pixels"
min_lit_pixels = 1
"""


def write_masked(path: Path) -> None:
    """A CXI file whose mask leaves 16 % of the pixels."""
    mask = np.ones((40, 40), np.uint16)
    mask[:16, :16] = 0
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = np.ones((3, 40, 40), np.int32)
        detector["mask"] = mask
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")


def test_a_scan_records_notes_of_geometry_and_mask_and_what_it_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, recipe = tmp_path / "data", tmp_path / "notes.toml"
    (data / "below").mkdir(parents=True)
    recipe.write_text(RECIPE)
    write_masked(data / "a.cxi")
    for name in ("b.dat", "c.DAT", "d.log", "README"):
        (data / name).touch()
    code, out, _ = run(capsys, "scan", str(data), "--session", str(tmp_path / "s"), "--recipe", str(recipe))
    assert code == 0
    note = "the mask /entry_1/instrument_1/detector_1/mask leaves 16 % of the pixels"
    ignored = "files ignored: 4 (.dat 2, without a suffix 1, .log 1); folders not searched: 1"
    assert f"note: {ignored}" in out
    assert out.count("of the pixels") == 1 and f"note: {note}" in out
    reader = Session.open(tmp_path / "s").results()
    (row,) = reader.files()
    assert {"beam centre taken from the recipe", note} <= set(row.notes)
    assert reader.state().ignored == {".dat": 2, ".log": 1, "": 1, "folders": 1}
    reader.close()


def test_a_note_is_given_once(tmp_path: Path) -> None:
    write_masked(tmp_path / "a.cxi")
    info = inspect(tmp_path / "a.cxi")
    twice = replace(info, notes=info.notes * 2)
    assert notes_on(twice, Geometry(beam_center_x=20, beam_center_y=18)) == (
        *info.notes,
        "beam centre taken from the recipe",
    )
