from __future__ import annotations

import pytest

from photon_triage.models.darknet.cfg import parse_cfg, read_net
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.optim import darknet_sgd, learning_rate, parameter_groups, set_rate

from ..builders import SMALL


def rate(options: str, iteration: int) -> float:
    cfg = f"[net]\nwidth=32\nheight=32\nlearning_rate=.1\n{options}\n[avgpool]\n"
    return learning_rate(read_net(parse_cfg(cfg)[0]), iteration)


@pytest.mark.parametrize(
    ("options", "iteration", "expected"),
    [
        ("policy=constant", 5, 0.1),
        ("burn_in=1000", 500, 0.1 / 16),
        ("burn_in=1000", 1000, 0.1),
        ("burn_in=10\npower=1", 5, 0.05),
        ("policy=steps\nsteps=100,200\nscales=10,.1", 99, 0.1),
        ("policy=steps\nsteps=100,200\nscales=10,.1", 100, 1.0),
        ("policy=steps\nsteps=100,200\nscales=10,.1", 250, 0.1),
        ("policy=step\nstep=10\nscale=.5", 25, 0.025),
        ("policy=exp\ngamma=.9", 2, 0.081),
        ("policy=sigmoid\ngamma=.1\nstep=50", 50, 0.05),
        ("policy=poly\npower=4\nmax_batches=100", 50, 0.1 / 16),
        ("policy=poly\npower=4\nmax_batches=100", 200, 0.0),
    ],
)
def test_rate_of_a_batch(options: str, iteration: int, expected: float) -> None:
    assert rate(options, iteration) == pytest.approx(expected)


def test_only_convolution_weights_decay() -> None:
    model = Darknet.from_cfg(SMALL)
    decaying, free = parameter_groups(model, 5e-4)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)] for p in decaying["params"]} == {f"layers.{i}.convolution.weight" for i in (0, 2, 3)}
    assert len(free["params"]) == len(names) - 3
    assert (decaying["weight_decay"], free["weight_decay"]) == (5e-4, 0)


def test_frozen_parameters_are_left_out() -> None:
    model = Darknet.from_cfg(SMALL).requires_grad_(False)
    assert all(not group["params"] for group in parameter_groups(model, 1e-3))


def test_optimiser_takes_the_cfgs_momentum_and_the_set_rate() -> None:
    optimizer = darknet_sgd(model := Darknet.from_cfg(SMALL), model.net)
    set_rate(optimizer, 0.5)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.5, 0.9)] * 2
