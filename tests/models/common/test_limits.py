"""Networks that files describe are held to a size before memory is taken for them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from photon_triage.models.common.checkpoint import load, parameter_count, save
from photon_triage.models.common.errors import ModelError
from photon_triage.models.common.registry import create, outline
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.pytorch_import import MOST_STEPS, BoundedPickleFile, read_tensors

CFG = "[net]\nwidth=32\nheight=32\nchannels=1\n"
CONVOLUTION = "[convolutional]\nfilters={}\nsize={}\nactivation=linear\n"


@pytest.mark.parametrize(
    ("family", "options", "told"),
    [
        ("darknet", {"cfg": CFG + CONVOLUTION.format(10**9, 3)}, "9,000,000,000 numbers"),
        ("darknet", {"cfg": CFG + CONVOLUTION.format(1, 1_000_001)}, "1,000,002,000,001 numbers"),
        ("darknet", {"cfg": CFG + (CONVOLUTION.format(4000, 3) * 5)}, "numbers, at most 268,435,456"),
        ("darknet", {"cfg": CFG + CONVOLUTION.format(1, 1) + "padding=1000000"}, "with its padding"),
        ("darknet", {"cfg": CFG + "[maxpool]\nsize=1000000\nstride=1"}, "with its padding"),
        ("darknet", {"cfg": CFG + "[upsample]\nstride=1000000"}, "values, at most 268,435,456"),
        ("darknet", {"cfg": CFG.replace("32", "1000000") + CONVOLUTION.format(1, 1)}, "an input"),
        ("darknet", {"cfg": CFG + CONVOLUTION.format(1, 1) * 2001}, "2,001 layers"),
        ("darknet", {"cfg": CFG + "#" * 2**20}, "characters"),
        ("darknet", {"cfg": 3}, "Expected a text"),
        ("msd", {"depth": 10**9}, "depth is too large, 1e"),
        ("msd", {"depth": 5000}, "5,001 feature maps"),
        ("unet", {"depth": 30}, "of depth 30"),
        ("unet", {"width": 10_000}, "numbers, at most"),
        ("unet", {"name": "unet"}, "unexpected keyword"),
        ("lenet", {"patch": 10_000}, "100,000,000 pixels"),
        ("lenet", {"widths": [1] * 20, "kernels": [1] * 20}, "20 convolutions"),
        ("lenet", {"hidden": [100_000, 100_000]}, "numbers, at most"),
        ("lenet", {"widths": [[6]]}, "nested"),
        ("lenet3d", {"patch": 500}, "125,000,000 pixels"),
        ("radial", {"bins": 10**400}, "bins is too large"),
        ("radial", {"widths": [1] * 2000}, "2,000 values"),
    ],
)
def test_a_network_beyond_use_is_refused_with_its_numbers(family: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError) as raised:
        create(family, **options)
    assert told in str(raised.value), raised.value


def test_an_outline_takes_no_memory() -> None:
    assert {parameter.device.type for parameter in outline("unet", width=128).parameters()} == {"meta"}


def test_a_checkpoint_opens_no_file_that_its_metadata_name(tmp_path: Path) -> None:
    (tmp_path / "net.cfg").write_text(CFG + CONVOLUTION.format(1, 1))
    with pytest.raises(ModelError, match="Cannot read the cfg"):
        create("darknet", cfg=str(tmp_path / "net.cfg"))
    assert Darknet.from_cfg(tmp_path / "net.cfg").parameter_count() == 2


def test_a_checkpoint_whose_file_lacks_the_tensors_is_refused_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = {"__metadata__": {"photon_triage": json.dumps({"architecture": {"family": "unet", "width": 128}})}}
    text = json.dumps(header).encode()
    (tmp_path / "net.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert parameter_count(tmp_path / "net.safetensors") > 10**8

    def allocated(*_: object, **__: object) -> None:
        raise AssertionError("the network was made")

    monkeypatch.setattr("photon_triage.models.common.checkpoint.create", allocated)
    with pytest.raises(ModelError, match="it lacks the tensor"):
        load(tmp_path / "net.safetensors")


def test_a_header_and_metadata_of_any_depth_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "net.safetensors", create("msd", depth=2), {})
    deep = "[" * 5000 + "]" * 5000
    text = json.dumps({"__metadata__": {"photon_triage": f'{{"architecture": {deep}}}'}}).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ModelError, match="nested"):
        load(path)
    path.write_bytes(struct.pack("<Q", 2**40) + b"{" + bytes(100))
    with pytest.raises(ModelError, match="1,099,511,627,776 bytes"):
        load(path)


def test_files_of_the_older_format_are_read(tmp_path: Path) -> None:
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = read_tensors(tmp_path / "old.pt")
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_pickle_of_endless_steps_is_ended(tmp_path: Path) -> None:
    (tmp_path / "long.pt").write_bytes(b"\x80\x02" + b"]0" * MOST_STEPS)
    with pytest.raises(ModelError, match="Cannot import"):
        read_tensors(tmp_path / "long.pt")
    with (tmp_path / "long.pt").open("rb") as file:
        steps = BoundedPickleFile(file)
        for _ in range(MOST_STEPS):
            steps.read(1)
        with pytest.raises(ValueError, match="too many steps"):
            steps.read(1)
