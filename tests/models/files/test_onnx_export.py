from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from photon_triage.models import create
from photon_triage.models.common.errors import ModelError
from photon_triage.models.files import onnx_export
from photon_triage.models.files.onnx_export import PlainMSD, export_onnx, plain_form
from photon_triage.models.files.summary import summarise
from photon_triage.models.msd import MSDNet

from ..builders import SIZES, TINY, with_other_weights

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra onnx is not installed",
)


@needs_onnx
@pytest.mark.parametrize("family", TINY)
def test_onnx_file_computes_what_the_network_computes(tmp_path: Path, family: str) -> None:
    import onnx
    import onnxruntime

    model = with_other_weights(create(family, **TINY[family]))
    shape = summarise(model, SIZES[family]).input
    report = export_onnx(model, tmp_path / "new" / "model.onnx", shape, {"name": family})
    assert report.difference is not None and report.difference < 1e-4
    assert [path.name for path in report.path.parent.iterdir()] == ["model.onnx"]
    assert report.bytes == report.path.stat().st_size

    frames = torch.rand(5, *shape)
    session = onnxruntime.InferenceSession(str(report.path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"frames": frames.numpy()})
    with torch.no_grad():
        output = model(frames)
    expected = output if isinstance(output, Tensor) else output[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    properties = {entry.key: entry.value for entry in onnx.load(str(report.path)).metadata_props}
    assert json.loads(properties["photon_triage"]) == {"name": family}


@needs_onnx
def test_network_that_cannot_be_translated_is_told(tmp_path: Path) -> None:
    class Asking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum().item() > 0.3 else x

    with pytest.raises(ModelError, match=r"Cannot export to .*model\.onnx: .*data-dependent"):
        export_onnx(Asking(), tmp_path / "model.onnx", (1, 2, 2), {})
    assert list(tmp_path.iterdir()) == []


class Twice(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x.abs(), self.factor * x]


@needs_onnx
def test_difference_is_that_of_the_worst_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = export_onnx(Twice(2.0), tmp_path / "model.onnx", (1, 2, 2), {})
    frames = torch.rand(4, 1, 2, 2)
    assert onnx_export._difference(Twice(2.0), report.path, frames) == pytest.approx(0, abs=1e-6)
    assert onnx_export._difference(Twice(4.0), report.path, frames) == pytest.approx(0.5)
    monkeypatch.setattr(onnx_export, "_is_installed", lambda _: False)
    assert onnx_export._difference(Twice(4.0), report.path, frames) is None


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setattr(onnx_export, "_is_installed", lambda name: name != package)
    with pytest.raises(ModelError, match=rf'{package} .*pip install "photon-triage\[onnx\]"'):
        export_onnx(nn.Flatten(), tmp_path / "model.onnx", (1, 2, 2), {})


@pytest.mark.parametrize("options", [{"depth": 12}, {"depth": 3, "in_channels": 2, "out_channels": 4, "width": 2}])
def test_plain_msd_is_the_network(options: dict[str, Any]) -> None:
    model = with_other_weights(MSDNet(**options))
    assert isinstance(model, MSDNet)
    model.input_mean.fill_(3.0)
    model.input_deviation.fill_(0.5)
    plain = plain_form(model)
    frames = torch.rand(2, model.in_channels, 15, 18) + 3
    assert isinstance(plain, PlainMSD)
    with torch.no_grad():
        expected = model(frames)
        torch.testing.assert_close(plain(frames), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
