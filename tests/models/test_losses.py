from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from photon_triage.models import yolo
from photon_triage.models.errors import ModelError
from photon_triage.models.heads import HeadConfig

from .builders import Array, plain_loss, region_head, yolo_head


def random_case(head: HeadConfig, seed: int, batch: int = 3) -> tuple[Array, Array]:
    """Raw values and up to four truths a frame; the third slot repeats the first's cell with another class."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, (batch, head.channels, 4, 5))
    targets = np.zeros((batch, 4, 5))
    targets[..., :2] = rng.uniform(0, 1, (batch, 4, 2))
    targets[..., 2:4] = rng.uniform(0.05, 0.9, (batch, 4, 2))
    targets[..., 4] = rng.integers(0, head.classes, (batch, 4))
    targets[:, 2] = targets[:, 0]
    targets[:, 2, 4] = (targets[:, 0, 4] + 1) % head.classes
    targets[rng.uniform(size=(batch, 4)) < 0.3] = 0
    return raw, targets


def torchs_loss(raw: Array, targets: Array, head: HeadConfig, seen: int) -> tuple[float, Array, yolo.LossFigures]:
    values = torch.from_numpy(raw).requires_grad_()
    loss, figures = yolo.detection_loss([values], torch.from_numpy(targets), [head], seen)
    loss.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    return loss.item(), values.grad.numpy(), figures[0]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.sampled_from([64, 12_800]), st.booleans(), st.sampled_from(["region", "yolo"]))
def test_loss_and_gradient_equal_the_plain_loop(seed: int, seen: int, rescore: bool, kind: str) -> None:
    head = region_head(rescore=rescore) if kind == "region" else yolo_head()
    raw, targets = random_case(head, seed)
    expected_loss, expected_gradient, expected_cost = plain_loss(raw, targets, head, seen)
    loss, gradient, figures = torchs_loss(raw, targets, head, seen)
    assert loss == pytest.approx(expected_loss, rel=1e-9)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-9)
    assert figures.cost == pytest.approx(expected_cost, rel=1e-9)


def test_single_precision_gradient_is_close() -> None:
    head = region_head()
    raw, targets = random_case(head, 1)
    _, expected, _ = plain_loss(raw, targets, head, 64)
    values = torch.from_numpy(raw).float().requires_grad_()
    loss, _ = yolo.region_loss(values, torch.from_numpy(targets).float(), head, 64)
    loss.backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    np.testing.assert_allclose(values.grad.numpy(), expected, atol=1e-5)


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
    _, _, figures = torchs_loss(np.zeros((1, head.channels, 4, 5)), np.array([[[1, 1, 0.5, 0.5, 0.0]]]), head, 0)
    assert figures.truths == 1


def test_figures_of_a_perfect_prediction() -> None:
    head = region_head()
    raw = torch.full((1, head.channels, 4, 5), -20.0)
    cells = raw.view(1, 3, head.values, 4, 5)
    cells[0, 1, :, 2, 3] = torch.tensor([0.0, 0.0, 0.0, 0.0, 20.0, 20.0, -20.0])
    target = torch.tensor([[[3.5 / 5, 2.5 / 4, 3 / 5, 2 / 4, 0.0]]])
    loss, figures = yolo.region_loss(raw, target, head, 20_000)
    assert loss.item() < 1e-6
    assert (figures.average_iou, figures.recall, figures.recall_75, figures.truths) == pytest.approx((1, 1, 1, 1))


def test_average_no_object_is_the_mean_over_all_cells() -> None:
    head = region_head()
    raw, targets = random_case(head, 5)
    _, _, figures = torchs_loss(raw, targets, head, 0)
    objectness = 1 / (1 + np.exp(-raw.reshape(3, 3, head.values, 4, 5)[:, :, 4]))
    assert figures.average_no_object == pytest.approx(objectness.mean())


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
