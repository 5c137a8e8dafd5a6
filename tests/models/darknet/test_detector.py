from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photon_triage.models import create
from photon_triage.models.common.checkpoint import save
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector, best_of_class, load_detector

CFG = """[net]
width=64
height=64
channels=1
[convolutional]
filters=16
size=3
stride=32
pad=1
activation=linear
[region]
anchors=1,1, 2,2
classes=3
coords=4
num=2
softmax=1
"""

NAMES = ("single", "multiple", "water")


def raw(objectness: dict[tuple[int, int, int], float], classes: dict[tuple[int, int, int], int]) -> torch.Tensor:
    """A raw head (1, 16, 2, 2): logits of objectness and a sure class at (anchor, row, column)."""
    head = torch.full((1, 2, 8, 2, 2), -6.0)
    head[:, :, :4] = 0.0
    for (anchor, row, column), value in objectness.items():
        head[0, anchor, 4, row, column] = value
    for (anchor, row, column), index in classes.items():
        head[0, anchor, 5 + index, row, column] = 6.0
    return head.view(1, 16, 2, 2)


def test_the_surest_box_speaks_for_the_frame() -> None:
    detector = Detector(Darknet.from_cfg(CFG), NAMES)
    head = raw({(1, 0, 1): 3.0, (0, 1, 0): 1.0}, {(1, 0, 1): 2, (0, 1, 0): 0})
    best = best_of_class([head], detector, detector.index("single"))
    assert best.likeliest.tolist() == [2] and float(best.likeliest_scores) == pytest.approx(0.9526, abs=1e-3)
    assert float(best.scores) < 0.01, "the surest box holds water"
    assert best.boxes[0].tolist() == pytest.approx([0.75, 0.25, 1.0, 1.0])
    water = best_of_class([head], detector, detector.index("water"))
    assert float(water.scores) == pytest.approx(float(best.likeliest_scores))


def test_names_and_heads_must_agree() -> None:
    with pytest.raises(ModelError, match="3 classes, the names given are single, water"):
        Detector(Darknet.from_cfg(CFG), ("single", "water"))
    with pytest.raises(ModelError, match="knows single, multiple, water"):
        Detector(Darknet.from_cfg(CFG), NAMES).index("ice")


def test_names_travel_with_the_checkpoint(tmp_path: Path) -> None:
    save(tmp_path / "named.safetensors", Darknet.from_cfg(CFG), {"classes": list(NAMES)})
    save(tmp_path / "one.safetensors", create("darknet", cfg="yolov2-seeds", in_channels=1), {})
    assert load_detector(tmp_path / "named.safetensors").classes == NAMES
    assert load_detector(tmp_path / "one.safetensors").classes == ("single",)


def test_a_network_without_a_head_detects_nothing(tmp_path: Path) -> None:
    save(tmp_path / "plain.safetensors", Darknet.from_cfg(CFG.partition("[region]")[0]), {})
    with pytest.raises(ModelError, match="no detection head"):
        load_detector(tmp_path / "plain.safetensors")


@pytest.mark.parametrize("names", [7, "single", {"single": 1}, [1, 2, 3], [["single"]]])
def test_names_that_are_no_list_of_names_are_refused(tmp_path: Path, names: object) -> None:
    save(tmp_path / "odd.safetensors", Darknet.from_cfg(CFG), {"classes": names})
    with pytest.raises(ModelError, match=r"Cannot detect with .*odd.safetensors: its metadata name no classes"):
        load_detector(tmp_path / "odd.safetensors")
