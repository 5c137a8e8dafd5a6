from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.models.catalog import find_model, session_models, shipped_models


def write_model(path: Path, *, header: object = None, beside: object = None) -> Path:
    """A safetensors file with metadata in its header, in a .json beside it, in both or in neither."""
    save_file({"weight": torch.zeros(1)}, path, None if header is None else {"photon_triage": json.dumps(header)})
    if beside is not None:
        path.with_suffix(".json").write_text(json.dumps(beside))
    return path


@pytest.mark.parametrize(
    ("header", "beside", "name"),
    [
        ({"name": "a"}, None, "a"),
        (None, {"name": "b"}, "b"),
        ({"name": "a"}, {"name": "b"}, "a"),
        (None, None, "file"),
        ([1], [2], "file"),
    ],
)
def test_name_is_from_the_header_else_from_beside_else_the_files(
    tmp_path: Path, header: object, beside: object, name: str
) -> None:
    path = write_model(tmp_path / "file.safetensors", header=header, beside=beside)
    assert [(entry.name, entry.path) for entry in session_models(tmp_path).values()] == [(name, path)]


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{}", b"\x05\0\0\0\0\0\0\0{bro}"])
def test_damaged_file_has_its_own_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.safetensors").write_bytes(content)
    assert session_models(tmp_path)["broken"].metadata == {}


def test_model_is_found_by_name_or_path(tmp_path: Path) -> None:
    path = write_model(tmp_path / "file.safetensors", header={"name": "mine"})
    assert find_model("mine", tmp_path).origin == "session"
    assert find_model(str(path)).metadata == {"name": "mine"}
    assert find_model("hitnet-spi").path == shipped_models()["hitnet-spi"].path


def test_unknown_model_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"There are: hitnet-spi"):
        find_model("nothing", tmp_path)
