from __future__ import annotations

import numpy as np
import pytest
import torch

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet import matching as boxes
from photon_triage.models.darknet import yolo

from ..builders import region_head, yolo_head


def test_region_boxes_of_one_cell() -> None:
    head = region_head()
    raw = torch.zeros(1, head.channels, 4, 5)
    raw.view(1, 3, head.values, 4, 5)[0, 1, :, 2, 3] = torch.tensor([0.0, 0.0, np.log(2.0), 0.0, 2.0, 1.0, 0.0])
    found = yolo.decode_region(raw, head)
    score, best = found.scores[0].max(0)
    assert found.boxes[0, best].tolist() == pytest.approx([3.5 / 5, 2.5 / 4, 6 / 5, 2 / 4])
    assert score.item() == pytest.approx(float(torch.sigmoid(torch.tensor(2.0)) * np.e / (1 + np.e)))
    assert found.class_probabilities[0, best].argmax() == 0


def test_one_softmax_class_scores_the_objectness() -> None:
    head = region_head(classes=1)
    raw = torch.randn(2, head.channels, 4, 5)
    detections = yolo.decode_region(raw, head)
    torch.testing.assert_close(detections.scores, detections.objectness)


def test_yolo_boxes_use_the_anchors_of_the_mask_in_pixels() -> None:
    head = yolo_head()
    raw = torch.full((1, head.channels, 4, 5), -10.0)
    raw.view(1, 2, head.values, 4, 5)[0, 1, :, 1, 2] = torch.tensor([0.0, 0.0, 0.0, 0.0, 4.0, 3.0, -3.0])
    found = yolo.decode([raw], [head])
    assert found.boxes[0, found.scores[0].argmax()].tolist() == pytest.approx([2.5 / 5, 1.5 / 4, 35 / 160, 20 / 128])


def test_decode_joins_the_heads() -> None:
    first, second = yolo_head(), yolo_head(mask=(0,))
    raws = [torch.randn(2, head.channels, 4, 5) for head in (first, second)]
    assert yolo.decode(raws, [first, second]).boxes.shape == (2, 60, 4)


def test_raw_tensor_of_another_head_is_refused() -> None:
    with pytest.raises(ModelError, match=r"Expected \(batch, 21, rows, columns\)"):
        yolo.decode_region(torch.zeros(1, 5, 4, 4), region_head())


def test_half_precision_is_decoded_in_single() -> None:
    head = region_head()
    raw = torch.randn(1, head.channels, 4, 5).bfloat16()
    assert yolo.decode_region(raw, head).boxes.dtype is torch.float32


def test_empty_boxes_do_not_overlap() -> None:
    assert boxes.box_iou(torch.zeros(4), torch.zeros(4)).item() == 0
