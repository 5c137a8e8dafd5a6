"""Dragonfly's selections: the indices of frames, or a 0 or 1 for each, one number a line.

Source: utils/convert/h5toemc.py of github.com/duaneloh/Dragonfly, option -s: `numpy.loadtxt` reads the file; as many
numbers as the data set has frames, none above 1, are taken for a vector. `#` begins a comment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.content import SIMULATED, Content
from photon_triage.core.export.text import write_lines

USE_A_VECTOR = "Export as dragonfly-vector, which can say it."


def write_indices(content: Content, path: Path) -> dict[str, Any]:
    """The 0-based indices of one file's selected frames.

    Raises ExportError where h5toemc would fail on the list (one index alone) or take it for a vector.
    """
    file = content.only_file("dragonfly")
    indices = sorted({row.frame.key.index for row in content.rows})
    if len(indices) == 1:
        raise ExportError(
            f"Could not list one frame of {file.path} for Dragonfly: h5toemc fails on a list of one index.",
            USE_A_VECTOR,
        )
    if len(indices) == file.frames and max(indices, default=2) < 2:
        raise ExportError(
            f"Could not list the {file.frames} frames of {file.path} for Dragonfly: h5toemc would take the indices "
            "for a 0/1 vector.",
            USE_A_VECTOR,
        )
    write_lines(path, [*_comments(content), *map(str, indices)])
    return {"first_index": 0, "frames_of_file": file.frames}


def write_vector(content: Content, path: Path) -> dict[str, Any]:
    """A 1 for each selected frame of one file and a 0 for each other, read or not.

    Raises ExportError for a file of one frame: h5toemc fails on one number alone.
    """
    file = content.only_file("dragonfly-vector")
    if file.frames < 2:
        raise ExportError(
            f"Could not list {file.path} for Dragonfly: it holds one frame, and h5toemc fails on one number alone.",
            "Convert it without a selection; export single-frame files as csv or crystfel.",
        )
    chosen = {row.frame.key.index for row in content.rows}
    write_lines(path, [*_comments(content), *("1" if index in chosen else "0" for index in range(file.frames))])
    return {"frames_of_file": file.frames}


def _comments(content: Content) -> list[str]:
    return [f"# {SIMULATED}"] if content.simulated else []
