from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.models import boxes, yolo
from photon_triage.models.errors import ModelError

from .builders import plain_iou, region_head, yolo_head


def test_region_boxes_of_one_cell() -> None:
    head = region_head()
    raw = torch.zeros(1, head.channels, 4, 5)
    raw.view(1, 3, head.values, 4, 5)[0, 1, :, 2, 3] = torch.tensor([0.0, 0.0, np.log(2.0), 0.0, 2.0, 1.0, 0.0])
    found = yolo.frame_score(yolo.decode_region(raw, head))
    assert found.boxes[0].tolist() == pytest.approx([3.5 / 5, 2.5 / 4, 6 / 5, 2 / 4])
    assert found.scores.item() == pytest.approx(float(torch.sigmoid(torch.tensor(2.0)) * np.e / (1 + np.e)))
    assert found.classes.tolist() == [0]


def test_one_softmax_class_scores_the_objectness() -> None:
    head = region_head(classes=1)
    raw = torch.randn(2, head.channels, 4, 5)
    detections = yolo.decode_region(raw, head)
    torch.testing.assert_close(detections.scores, detections.objectness)


def test_yolo_boxes_use_the_anchors_of_the_mask_in_pixels() -> None:
    head = yolo_head()
    raw = torch.full((1, head.channels, 4, 5), -10.0)
    raw.view(1, 2, head.values, 4, 5)[0, 1, :, 1, 2] = torch.tensor([0.0, 0.0, 0.0, 0.0, 4.0, 3.0, -3.0])
    found = yolo.frame_score(yolo.decode([raw], [head]))
    assert found.boxes[0].tolist() == pytest.approx([2.5 / 5, 1.5 / 4, 35 / 160, 20 / 128])


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


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.floats(0.1, 0.9))
def test_suppression_equals_the_greedy_rule(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    count = 15
    found = np.concatenate([rng.uniform(0.3, 0.7, (2, count, 2)), rng.uniform(0.1, 0.6, (2, count, 2))], axis=2)
    scores = -np.sort(-rng.uniform(0, 1, (2, count)), axis=1)
    classes = rng.integers(0, 2, (2, count))
    expected = np.zeros((2, count), dtype=bool)
    for b in range(2):
        for i in range(count):
            rivals = [j for j in range(i) if expected[b, j] and classes[b, i] == classes[b, j]]
            overlaps = [plain_iou(list(found[b, j]), list(found[b, i])) for j in rivals]
            expected[b, i] = scores[b, i] >= 0.2 and all(overlap <= threshold for overlap in overlaps)
    tensors = (torch.from_numpy(found), torch.from_numpy(scores), torch.from_numpy(classes))
    kept = boxes.suppress(*tensors, 0.2, threshold)
    np.testing.assert_array_equal(kept.numpy(), expected)


def test_selection_is_ordered_and_limited() -> None:
    head = region_head()
    raw = torch.randn(2, head.channels, 4, 5, generator=torch.Generator().manual_seed(0))
    selected = yolo.non_maximum_suppression(yolo.decode_region(raw, head), 0.1, 0.5, limit=10)
    assert selected.scores.shape == (2, 10)
    assert bool((selected.scores.diff(dim=1) <= 0).all())
    assert bool(selected.kept[:, 0].all())


def test_empty_boxes_do_not_overlap() -> None:
    assert boxes.box_iou(torch.zeros(4), torch.zeros(4)).item() == 0


def test_packed_targets_fill_missing_rows_with_zeros() -> None:
    packed = yolo.pack_targets([torch.ones(2, 5), torch.zeros(0, 5)])
    assert packed.shape == (2, 2, 5)
    assert not packed[1].any()
