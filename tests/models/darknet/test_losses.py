from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet import yolo
from photon_triage.models.darknet.heads import HeadConfig

from ..builders import region_head, yolo_head
from .darknet_reference import Array, forward_and_delta

HEADS = {
    "region": region_head(),
    "region without rescore": region_head(rescore=False, thresh=0.3),
    "region with scales": region_head(object_scale=3.0, noobject_scale=0.5, class_scale=2.0, coord_scale=1.5),
    "region with one class": region_head(classes=1),
    "region with logistic classes": region_head(softmax=False, classes=4),
    "region that matches predictions": region_head(bias_match=False),
    "yolo": yolo_head(),
    "yolo with many classes": yolo_head(classes=5, mask=(0, 2), thresh=0.3),
    "yolo with one class": yolo_head(classes=1, mask=(0, 1, 2, 3)),
}


def random_case(head: HeadConfig, seed: int, batch: int = 3) -> tuple[Array, Array]:
    """Raw values and up to five truths a frame; two share a cell and a shape, one stands on a border or in a corner."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, (batch, head.channels, 4, 5))
    targets = np.zeros((batch, 5, 5))
    targets[..., :2] = rng.uniform(0.01, 1, (batch, 5, 2))
    targets[..., 2:4] = rng.uniform(0.05, 0.9, (batch, 5, 2))
    targets[..., 4] = rng.integers(0, head.classes, (batch, 5))
    targets[:, 2] = targets[:, 0]
    targets[:, 2, 4] = (targets[:, 0, 4] + 1) % head.classes
    targets[:, 3, :2] = rng.choice([0.0, 0.2, 0.25, 0.5, 1.0], (batch, 2))
    targets[rng.uniform(size=(batch, 5)) < 0.3] = 0
    return raw, targets


def torchs_loss(raw: Array, targets: Array, head: HeadConfig, seen: int) -> tuple[float, Array, yolo.LossFigures]:
    values = torch.from_numpy(raw).requires_grad_()
    loss, figures = yolo.detection_loss([values], torch.from_numpy(targets), [head], seen)
    loss.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    return loss.item(), values.grad.numpy(), figures[0]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@settings(deadline=None, max_examples=12)
@given(st.integers(0, 2**31), st.sampled_from([64, 12_799, 12_800]))
def test_gradient_is_minus_darknets_delta(head: HeadConfig, seed: int, seen: int) -> None:
    raw, targets = random_case(head, seed)
    reference = forward_and_delta(raw, targets, head, seen)
    _, gradient, figures = torchs_loss(raw, targets, head, seen)
    np.testing.assert_allclose(gradient * len(raw), -reference.delta, atol=1e-9)
    assert figures.cost == pytest.approx(reference.cost, rel=1e-9)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_single_precision_is_close_to_darknet(head: HeadConfig) -> None:
    raw, targets = random_case(head, 1)
    reference = forward_and_delta(raw, targets, head, 64)
    _, gradient, _ = torchs_loss(raw.astype(np.float32), targets.astype(np.float32), head, 64)
    np.testing.assert_allclose(gradient * len(raw), -reference.delta, atol=1e-5)


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_gradient_is_the_losss_slope(head: HeadConfig) -> None:
    """Objectness targets are overlaps that Darknet holds fixed, so a case without truths has to do for the region."""
    raw, targets = random_case(head, 4, batch=1)
    if head.rescore:
        targets[:] = 0
    _, gradient, _ = torchs_loss(raw, targets, head, 64)
    rng = np.random.default_rng(0)
    for _ in range(20):
        place = tuple(int(rng.integers(extent)) for extent in raw.shape)
        step = np.zeros_like(raw)
        step[place] = 1e-6
        above, below = (torchs_loss(raw + sign * step, targets, head, 64)[0] for sign in (1, -1))
        assert (above - below) / 2e-6 == pytest.approx(gradient[place], abs=1e-5)


@pytest.mark.parametrize("head", [region_head(), yolo_head()])
def test_printed_figures(head: HeadConfig) -> None:
    raw, targets = random_case(head, 7)
    reference = forward_and_delta(raw, targets, head, 20_000)
    _, _, figures = torchs_loss(raw, targets, head, 20_000)
    overlaps = np.array(reference.overlaps)
    assert figures.truths == len(overlaps) > 2
    assert figures.average_iou == pytest.approx(overlaps.mean())
    assert figures.average_object == pytest.approx(np.mean(reference.objectness))
    assert figures.average_no_object == pytest.approx(reference.everywhere)
    assert (figures.recall, figures.recall_75) == pytest.approx(((overlaps > 0.5).mean(), (overlaps > 0.75).mean()))


def test_a_truth_teaches_only_the_head_that_has_its_anchor() -> None:
    raw, targets = random_case(yolo_head(mask=(0, 2)), 3)
    counts = [torchs_loss(raw, targets, yolo_head(mask=mask), 0)[2].truths for mask in ((0, 2), (1, 3))]
    assert min(counts) > 0
    assert sum(counts) == (targets[..., 2] > 0).sum()


@pytest.mark.parametrize(("seen", "pulled"), [(12_799, True), (12_800, False)])
def test_the_pull_to_the_prior_ends_after_12800_images(seen: int, pulled: bool) -> None:
    head = region_head()
    raw, _ = random_case(head, 2)
    _, gradient, _ = torchs_loss(raw, np.zeros((3, 0, 5)), head, seen)
    assert bool(gradient.reshape(3, 3, head.values, 4, 5)[:, :, :4].any()) is pulled


@pytest.mark.parametrize("head", [region_head(), yolo_head()])
def test_frames_without_truths_only_teach_emptiness(head: HeadConfig) -> None:
    raw, _ = random_case(head, 2)
    _, gradient, figures = torchs_loss(raw, np.zeros((3, 0, 5)), head, 20_000)
    by_value = gradient.reshape(3, len(head.mask), head.values, 4, 5)
    assert figures.truths == 0
    assert np.all(by_value[:, :, 4] > 0)
    assert not by_value[:, :, [0, 1, 2, 3, 5, 6]].any()


def test_truth_on_the_far_border_stays_in_the_last_cell() -> None:
    head = region_head()
    raw, targets = np.zeros((1, head.channels, 4, 5)), np.array([[[1, 1, 0.5, 0.5, 0.0]]])
    _, gradient, figures = torchs_loss(raw, targets, head, 20_000)
    assert figures.truths == 1
    rows, columns = np.nonzero(gradient.reshape(3, head.values, 4, 5)[:, 0].any(axis=0))
    assert (rows.tolist(), columns.tolist()) == ([3], [4])


def test_yolo_anchors_are_pixels_of_the_input_even_where_a_layer_pads_the_grid() -> None:
    """A grid with one extra row and column, of a 128x96 input: shares count from the input, not from the grid."""
    head = yolo_head(extra_cells=(1, 1))
    raw = torch.zeros(1, head.channels, 4, 5)
    assert yolo.decode_yolo(raw, head).boxes[0, 0, 2:].tolist() == pytest.approx([60 / 128, 40 / 96])


def test_figures_of_a_perfect_prediction() -> None:
    head = region_head()
    raw = torch.full((1, head.channels, 4, 5), -20.0)
    cells = raw.view(1, 3, head.values, 4, 5)
    cells[0, 1, :, 2, 3] = torch.tensor([0.0, 0.0, 0.0, 0.0, 20.0, 20.0, -20.0])
    target = torch.tensor([[[3.5 / 5, 2.5 / 4, 3 / 5, 2 / 4, 0.0]]])
    loss, figures = yolo.region_loss(raw, target, head, 20_000)
    assert loss.item() < 1e-6
    assert (figures.average_iou, figures.recall, figures.recall_75, figures.truths) == pytest.approx((1, 1, 1, 1))


@pytest.mark.parametrize(
    "row",
    [
        [0.5, 0.5, 0.5, 0.5, 2],
        [1.1, 0.5, 0.5, 0.5, 0],
        [0.5, 0.5, 0.5, 0, 0],
        [float("nan"), 0.5, 0.5, 0.5, 0],
    ],
)
def test_impossible_targets_are_refused(row: list[float]) -> None:
    head = region_head()
    with pytest.raises(ModelError, match="Cannot train on the targets"):
        yolo.region_loss(torch.zeros(1, head.channels, 4, 5), torch.tensor([[row]]), head, 0)


def test_targets_of_another_shape_are_refused() -> None:
    head = region_head()
    with pytest.raises(ModelError, match=r"targets of shape \(1, 5\)"):
        yolo.region_loss(torch.zeros(1, head.channels, 4, 5), torch.zeros(1, 5), head, 0)


def test_outputs_and_heads_must_be_as_many() -> None:
    with pytest.raises(ModelError, match="2 outputs with 1 heads"):
        yolo.detection_loss([torch.zeros(1)] * 2, torch.zeros(1, 0, 5), [region_head()], 0)
