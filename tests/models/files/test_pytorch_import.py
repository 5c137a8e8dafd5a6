from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.files.pytorch_import import fit_tensors, read_tensors


class Code:
    """What a pickle of a whole object looks like: reading it would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code of the file has run",)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))


def equal(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_tensors_are_found_however_they_are_wrapped(tmp_path: Path, nest: str | None, prefix: str) -> None:
    state = network().state_dict()
    wrapped: Any = {prefix + name: tensor for name, tensor in state.items()}
    torch.save(wrapped if nest is None else {nest: wrapped, "epoch": 3}, tmp_path / "net.pt")
    found = read_tensors(tmp_path / "net.pt")
    assert list(found) == list(state) and all(torch.equal(found[name], state[name]) for name in state)


def test_bare_safetensors_are_read(tmp_path: Path) -> None:
    state = network().state_dict()
    save_file(state, tmp_path / "net.safetensors")
    assert set(read_tensors(tmp_path / "net.safetensors")) == set(state)


def test_code_in_a_pickle_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(1), "more": Code()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="reading that could run code"):
        read_tensors(tmp_path / "evil.pt")
    assert "has run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"), [([1, 2], "it holds a list"), ({"epoch": 3}, "it holds no tensors"), ({}, "no tensors")]
)
def test_files_without_named_tensors_are_refused(tmp_path: Path, content: object, told: str) -> None:
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ModelError, match=told):
        read_tensors(tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"neither of the two", b"PK\x03\x04 cut"])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match="Cannot import"):
        read_tensors(tmp_path / name)


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match="No such file"):
        read_tensors(tmp_path / name)


def test_tensors_fit_by_name() -> None:
    model, state = network(), network().state_dict()
    assert fit_tensors(model, state, "it") == []
    assert equal(model, state)


def test_buffers_that_are_missing_stay_as_built() -> None:
    model, state = network(), network().state_dict()
    without = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    assert fit_tensors(model, without, "it") == ["1.num_batches_tracked"]


@pytest.mark.parametrize("with_buffers", [True, False])
def test_tensors_fit_by_order(with_buffers: bool) -> None:
    model, other = network(), network()
    state = other.state_dict() if with_buffers else dict(other.named_parameters())
    fit_tensors(model, {f"layer {n}": t.detach() for n, t in enumerate(state.values())}, "it", by_order=True)
    assert equal(model, other.state_dict())


def test_another_number_of_tensors_does_not_fit_by_order() -> None:
    with pytest.raises(ModelError, match="it has 1 tensors, the network 6"):
        fit_tensors(network(), {"weight": torch.zeros(1)}, "it", by_order=True)


def test_misfits_by_order_change_nothing() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = {str(n): torch.ones(1) for n in range(6)}
    with pytest.raises(ModelError, match=r"expected 0\.weight of shape \(2, 1, 3, 3\), got \(1,\)"):
        fit_tensors(model, given, "it", by_order=True)
    assert equal(model, before)
