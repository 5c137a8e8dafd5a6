"""Darknet's optimiser: the parameters that decay, and the learning rate as a function of the batch."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from typing import Any

import torch
from torch import nn

from photon_triage.models.darknet.cfg import NetConfig


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Two groups for an optimiser: weights of two and more dimensions with `decay`, biases and batch-norm without."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def darknet_sgd(model: nn.Module, net: NetConfig) -> torch.optim.SGD:
    """The optimiser of a cfg's `[net]`: SGD with its momentum and decay; set each batch's rate with `set_rate`."""
    return torch.optim.SGD(parameter_groups(model, net.decay), lr=net.learning_rate, momentum=net.momentum)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group of the optimiser the learning rate `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def shortened(net: NetConfig, iterations: int) -> NetConfig:
    """The same schedule in fewer batches: its steps in proportion, its burn-in at most a tenth of them.

    A training as long as `max_batches`, or longer, follows the cfg itself.
    """
    if not net.max_batches or iterations >= net.max_batches:
        return net
    share = iterations / net.max_batches
    return replace(
        net,
        burn_in=min(net.burn_in, iterations // 10),
        steps=tuple(max(1, round(step * share)) for step in net.steps),
        step=max(1, round(net.step * share)),
        gamma=net.gamma ** (1 / share) if net.policy == "exp" else net.gamma / share,
        max_batches=iterations,
    )


def learning_rate(net: NetConfig, iteration: int) -> float:
    """The learning rate of a batch under the cfg's policy.

    iteration: 1 for the first batch, as Darknet counts. During `burn_in` batches the rate rises with `power` (4 where
    the cfg is silent); then `steps` multiplies it by each of the scales whose step was reached.
    """
    if iteration < net.burn_in:
        return net.learning_rate * float((iteration / net.burn_in) ** net.power)
    rate = net.learning_rate
    if net.policy == "steps":
        for step, scale in zip(net.steps, net.scales, strict=True):
            if step > iteration:
                break
            rate *= scale
    elif net.policy == "step":
        rate *= float(net.scale ** (iteration // net.step))
    elif net.policy == "exp":
        rate *= float(net.gamma**iteration)
    elif net.policy == "poly" and net.max_batches:
        rate *= float(max(0.0, 1 - iteration / net.max_batches) ** net.power)
    elif net.policy == "sigmoid":
        rate /= 1 + exp(min(net.gamma * (iteration - net.step), 700))
    return rate
