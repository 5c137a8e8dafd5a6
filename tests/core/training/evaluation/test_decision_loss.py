from __future__ import annotations

import math

import pytest
import torch

from photon_triage.core.training.evaluation.pixel_losses import decision_loss
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector, best_of_class


def detector() -> Detector:
    torch.manual_seed(0)
    return Detector(Darknet.from_cfg("hitnet").eval(), ("single", "multiple", "water", "streak", "other"))


def test_a_score_at_the_threshold_is_even_odds() -> None:
    one = detector()
    outputs = one.network(torch.rand(1, 1, 128, 256))
    score = float(best_of_class(outputs, one, 0).scores[0].detach())
    for accepted in (True, False):
        loss = decision_loss(outputs, one, 0, torch.tensor([accepted]), score)
        assert loss.item() == pytest.approx(math.log(2), abs=1e-4)


def test_it_moves_the_score_and_nothing_else_need_vanish() -> None:
    one = detector()
    frame = torch.rand(2, 1, 128, 256)
    before = best_of_class(one.network(frame), one, 0).scores.detach()
    optimizer = torch.optim.SGD(one.network.parameters(), 1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        decision_loss(one.network(frame), one, 0, torch.tensor([True, False]), 0.5).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    after = best_of_class(one.network(frame), one, 0).scores.detach()
    assert after[0] - before[0] > after[1] - before[1]
