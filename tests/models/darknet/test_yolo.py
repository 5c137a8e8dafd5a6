from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet import matching as boxes
from photon_triage.models.darknet import yolo

from ..builders import region_head, yolo_head
from .darknet_reference import iou


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


def random_detections(seed: int, *, count: int = 40, classes: int = 3, levels: int = 6) -> yolo.Detections:
    """Crowded boxes of two frames; scores have `levels` steps, so that many are equal."""
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(0.3, 0.7, (2, count, 2)), rng.uniform(0.1, 0.6, (2, count, 2))], axis=2)
    objectness, shares = (rng.integers(0, levels, shape) / levels for shape in ((2, count), (2, count, classes)))
    return yolo.Detections(torch.from_numpy(boxes), torch.from_numpy(objectness), torch.from_numpy(shares))


def greedy(candidates: list[tuple[float, int, list[float]]], score: float, overlap: float) -> list[bool]:
    """Which of the (score, class, box) remain, best first, the naive way."""
    kept: list[tuple[int, list[float]]] = []
    verdicts = []
    for value, label, box in candidates:
        free = all(label != other or iou(box, rival) <= overlap for other, rival in kept)
        verdicts.append(value >= score and free)
        if verdicts[-1]:
            kept.append((label, box))
    return verdicts


@pytest.mark.parametrize("every_class", [False, True])
@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), overlap=st.floats(0.1, 0.9))
def test_suppression_equals_the_greedy_rule(every_class: bool, seed: int, overlap: float) -> None:
    detections = random_detections(seed)
    selected = yolo.non_maximum_suppression(detections, 0.2, overlap, limit=1000, every_class=every_class)
    for frame in range(2):
        shares, candidates = detections.class_probabilities[frame].tolist(), []
        for place, box in enumerate(detections.boxes[frame].tolist()):
            labels = range(3) if every_class else [max(range(3), key=shares[place].__getitem__)]
            candidates += [(detections.objectness[frame, place].item() * shares[place][n], n, box) for n in labels]
        candidates.sort(key=lambda candidate: -candidate[0])
        assert selected.scores[frame].tolist() == [candidate[0] for candidate in candidates]
        assert selected.classes[frame].tolist() == [candidate[1] for candidate in candidates]
        assert selected.kept[frame].tolist() == greedy(candidates, 0.2, overlap)


def test_equal_boxes_of_equal_score_leave_the_first() -> None:
    one = torch.tensor([[[0.5, 0.5, 0.2, 0.2]]]).expand(1, 4, 4)
    detections = yolo.Detections(one, torch.full((1, 4), 0.9), torch.tensor([[[1.0, 0], [1, 0], [0, 1], [0, 1]]]))
    assert yolo.non_maximum_suppression(detections).kept.tolist() == [[True, False, True, False]]


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
