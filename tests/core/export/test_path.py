from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from photon_triage.core.frames import FrameKey
from photon_triage.core.session.store.frames import _row as row_of
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.commands.export import SelectionName, export

from ..session.builders import DATASET
from .builders import frame_session, label, write_frames

LONGEST = 5
COMMAND = "photon_triage.tui.commands.export"


def modules_on(frame: FrameType | None) -> list[str]:
    """The project's modules on a call stack up to the command, each once, the command first; none outside of it."""
    found: list[str] = []
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("photon_triage.") and name not in found:
            found.append(name)
        if name == COMMAND:
            return found[::-1]
        frame = frame.f_back
    return []


@pytest.mark.parametrize("list_format", ["crystfel", "csv"])
@pytest.mark.parametrize("select", list(SelectionName))
def test_a_row_passes_through_five_modules_from_the_command_to_the_list(
    tmp_path: Path, list_format: str, select: SelectionName
) -> None:
    """Counted wherever a row of results.db is read, and wherever lines of the list are written."""
    path, output = tmp_path / "a.cxi", tmp_path / "list"
    write_frames(path)
    session = frame_session(tmp_path / "s", {path: [0.9] * 6})
    label(session, FrameKey(str(path), DATASET, 2), "accepted")
    chains: dict[str, list[str]] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        is_row = event == "call" and frame.f_code is row_of.__code__
        is_line = event == "c_call" and getattr(argument, "__name__", "") == "writelines"
        if is_row or is_line:
            chain = modules_on(frame)
            what = "row" if is_row else "line"
            chains[what] = max(chains.get(what, []), chain, key=len)

    sys.setprofile(trace)
    try:
        export(session.path, list_format, select, output, threshold=0.5)
    finally:
        sys.setprofile(None)
    assert output.read_bytes()
    assert chains.keys() == {"row", "line"}
    for chain in chains.values():
        assert chain[0] == COMMAND
        assert len(chain) <= LONGEST, chain


def test_a_list_of_few_frames_looks_up_those_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.cxi"
    write_frames(path)
    session = frame_session(tmp_path / "s", {path: [0.9] * 6, tmp_path / "b.cxi": [0.9] * 6})
    label(session, FrameKey(str(path), DATASET, 2), "accepted")
    made: list[FrameKey] = []

    def counted(*row: Any) -> FrameRow:
        made.append(row[1])
        return FrameRow(*row)

    monkeypatch.setattr("photon_triage.core.session.store.frames.FrameRow", counted)
    export(session.path, "crystfel", SelectionName.accepted, tmp_path / "list", threshold=0.5)
    assert {key.index for key in made} == {2}
