from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from photon_triage.models.common import checkpoint
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet

from ..builders import SMALL, with_random_weights


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Darknet, Path]:
    model = with_random_weights(Darknet.from_cfg(SMALL, in_channels=1))
    model.seen = 640
    path = checkpoint.save(tmp_path / "small.safetensors", model, {"scores": {"recall": 0.9}, "parent": None})
    return model, path


def resaved(path: Path, **changed: torch.Tensor) -> None:
    """Write the file again with some tensors changed, keeping the `.json` beside it."""
    state = dict(checkpoint.load(path)[0].state_dict())
    save_file({**state, **changed}, path)


def test_round_trip_builds_the_same_network(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    copy, metadata = checkpoint.load(path)
    image = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(copy(image), model(image), rtol=0, atol=0)
    assert (metadata["scores"], metadata["architecture"]["in_channels"]) == ({"recall": 0.9}, 1)
    assert isinstance(copy, Darknet) and copy.seen == 640 and not copy.training


def test_metadata_stand_in_a_file_for_people(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    assert json.loads(path.with_suffix(".json").read_text()) == checkpoint.read_metadata(path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["small.json", "small.safetensors"]


def test_header_alone_is_enough(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    path.with_suffix(".json").unlink()
    assert checkpoint.load(path)[1]["parent"] is None


def test_json_stands_in_for_a_missing_header(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    resaved(path)
    assert checkpoint.load(path)[1]["scores"] == {"recall": 0.9}


def test_state_with_its_architecture_can_be_saved(tmp_path: Path) -> None:
    model = Darknet.from_cfg(SMALL)
    metadata = {"architecture": model.architecture}
    path = checkpoint.save(tmp_path / "deeper" / "state.safetensors", model.state_dict(), metadata)
    assert isinstance(checkpoint.load(path)[0], Darknet)


def test_wrong_shape_is_named(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    resaved(path, **{"layers.0.convolution.weight": torch.zeros(8, 3, 3, 3)})
    message = r"expected layers.0.convolution.weight of shape \(8, 1, 3, 3\), got \(8, 3, 3, 3\)"
    with pytest.raises(ModelError, match=message):
        checkpoint.load(path)


def test_surplus_tensor_is_named(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    resaved(path, extra=torch.zeros(1))
    with pytest.raises(ModelError, match="the architecture has no tensor extra"):
        checkpoint.load(path)


def test_missing_tensor_is_named() -> None:
    with pytest.raises(ModelError, match="lacks the tensor images_seen"):
        checkpoint.load_state(Darknet.from_cfg(SMALL), {}, "nothing")


def test_whole_numbers_in_place_of_reals_are_refused() -> None:
    model = Darknet.from_cfg(SMALL)
    state = {name: tensor.long() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        ModelError, match=r"expected layers\.0\.convolution\.weight as torch\.float32, got torch\.int64"
    ):
        checkpoint.load_state(model, state, "whole")


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.ckpt", "renamed.safetensors"])
def test_pickles_are_refused_with_the_way_to_convert(tmp_path: Path, name: str) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(ModelError, match="weights_only=True") as caught:
        checkpoint.load(tmp_path / name)
    assert f"photon-triage models import {tmp_path / name} --family" in caught.value.hint


def test_many_misfits_are_counted() -> None:
    model = Darknet.from_cfg(SMALL)
    state = {name: tensor for name, tensor in model.state_dict().items() if "layers.0" not in name}
    state["layers.3.convolution.bias"] = torch.zeros(15)
    with pytest.raises(ModelError, match=r"lacks the tensor layers\.0\.convolution\.weight") as caught:
        checkpoint.load_state(model, {**state, "extra": torch.zeros(1)}, "it")
    complaints = len(checkpoint.misfits(model, {**state, "extra": torch.zeros(1)}))
    assert complaints >= 7 and f"and {complaints - 4} more" in caught.value.message


def test_parameters_are_counted(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    assert checkpoint.read_metadata(path)["parameters"] == model.parameter_count()


@pytest.mark.parametrize("content", [b"", b"\x10\x00\x00\x00\x00\x00\x00\x00{broken", b"no tensors at all"])
def test_damaged_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="Cannot load the checkpoint"):
        checkpoint.load(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_darknet_weights_are_sent_to_their_reader(tmp_path: Path) -> None:
    (tmp_path / "net.weights").write_bytes(bytes(40))
    with pytest.raises(ModelError, match=r"photon-triage models import .*net\.weights --cfg"):
        checkpoint.load(tmp_path / "net.weights")


def test_tensors_without_metadata_are_refused(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="neither its header nor"):
        checkpoint.load(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("metadata", [{}, {"architecture": {"cfg": SMALL}}, {"architecture": "darknet"}])
def test_metadata_must_name_the_architecture(tmp_path: Path, metadata: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="they name no architecture"):
        checkpoint.save(tmp_path / "x.safetensors", {"weight": torch.zeros(1)}, metadata)


@pytest.mark.parametrize("name", ["/data/\udcff.h5", "\ud800", "走査"])
def test_metadata_may_hold_names_that_are_no_unicode(saved: tuple[Darknet, Path], name: str) -> None:
    model, path = saved
    checkpoint.save(path, model, {"data": {"trained_on": name}})
    assert checkpoint.read_metadata(path)["data"] == {"trained_on": name}
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["data"] == {"trained_on": name}


def test_metadata_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="its metadata is not JSON"):
        checkpoint.save(tmp_path / "x.safetensors", Darknet.from_cfg(SMALL), {"score": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused_when_saving(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"ends in \.safetensors"):
        checkpoint.save(tmp_path / "x.pt", Darknet.from_cfg(SMALL), {})


def test_failed_save_keeps_the_old_checkpoint(saved: tuple[Darknet, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = saved

    def fill_the_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(ModelError, match="No space left"):
        checkpoint.save(path, model, {})
    assert checkpoint.load(path)[1]["scores"] == {"recall": 0.9}
    assert len(list(path.parent.iterdir())) == 2


def test_others_may_read_a_checkpoint_as_far_as_the_umask_lets_them(tmp_path: Path) -> None:
    previous = os.umask(0o022)
    model = Darknet.from_cfg(SMALL)
    try:
        checkpoint.save(tmp_path / "model.safetensors", model, {})
    finally:
        os.umask(previous)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize("classes", [2**62, 10**7, -1, "two", None, [1]])
def test_an_architecture_of_any_size_is_refused_before_it_takes_memory(
    saved: tuple[Darknet, Path], classes: object
) -> None:
    _, path = saved
    state, told = dict(checkpoint.load(path)[0].state_dict()), checkpoint.read_metadata(path)
    told["architecture"] = {"family": "msd", "depth": 4, "out_channels": classes}
    checkpoint.save(path, state, told)
    with pytest.raises(ModelError, match=r"Cannot (load|create|build)"):
        checkpoint.load(path)
