"""What all trainings do alike: batches and their rates, checks, the best checkpoint, and a state to go on from."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from photon_triage.core.training.loop.distributed import is_first, spread
from photon_triage.core.training.loop.progress import Progress, smooth
from photon_triage.core.training.loop.resume_state import Keeper, Kept
from photon_triage.models.darknet.optim import set_rate


class Learner(ABC):
    """A network that learns: how its batches, its loss and its checks are made.

    rng: decides what is drawn; with `memory` and the weights it is all that the next batch depends on. metadata: what a
    checkpoint needs beside the network to be a model, such as its classes.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    rng: np.random.Generator
    metadata: Mapping[str, Any] = MappingProxyType({})
    chooses: bool = True
    """Whether the checks choose the best checkpoint; else they only tell, for they judge the model in the end."""
    _spread: Callable[[Tensor], Any] | None = None

    def forward(self, batch: Tensor) -> Any:
        """The network's outputs for a whole batch; of several processes each computes a part of it."""
        if self._spread is None:
            self._spread = spread(self.network)
        return self._spread(batch)

    @abstractmethod
    def rate(self, iteration: int) -> float:
        """The learning rate of a batch; the first is 1."""

    @abstractmethod
    def loss(self, iteration: int) -> Tensor:
        """The loss of a new batch, a scalar with gradients."""

    def gradients(self, iteration: int) -> float:
        """Leave the gradients of a new batch in the network; returns its loss."""
        loss = self.loss(iteration)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    def check(self, iteration: int) -> float | None:
        """F1 on the validation examples after this batch, None where none is due; leaves the network in training."""
        return None

    def judged(self) -> float | None:
        """F1 on the validation examples now, None where there are none; leaves the network in training."""
        return None

    def best_so_far(self) -> None:  # noqa: B027
        """Called after a check that no earlier one was better than."""

    def finish(self) -> None:
        """Called in the end, with the best checkpoint in the network."""
        self.network.eval()

    def memory(self) -> dict[str, Any]:
        """What else the batches to come depend on, as JSON values."""
        return {}

    def recall(self, memory: Mapping[str, Any]) -> None:  # noqa: B027
        """Take back what `memory` gave."""


@dataclass
class _State:
    """How far a training is."""

    done: int = 0
    smoothed: float = math.nan
    best_f1: float = -1.0
    best: dict[str, Tensor] = field(default_factory=dict)


def learn(learner: Learner, iterations: int, keeper: Keeper | None = None) -> Iterator[Progress]:
    """Train in place, yielding after each batch; what remains has the highest F1 of all checks, the latest of equals.

    With a keeper the training goes on where its state was last kept, to the same end as without the interruption.
    Every checkpoint is checked, and written with its F1. Raises TrainingError where the loss is no number any more, or
    where a kept state is of another training. Of several processes only the first writes.
    """
    state = _State()
    checkpoints = keeper.checkpoints if keeper is not None else None
    if keeper is not None and (kept := keeper.load()) is not None:
        state = _restored(learner, kept)
    elif checkpoints is not None and is_first():
        checkpoints.clear()
    for iteration in range(state.done + 1, iterations + 1):
        set_rate(learner.optimizer, learner.rate(iteration))
        loss = learner.gradients(iteration)
        learner.optimizer.step()
        state.smoothed = smooth(state.smoothed, loss, iteration)
        f1 = learner.check(iteration)
        is_checkpoint = checkpoints is not None and checkpoints.due(iteration)
        if is_checkpoint and f1 is None:
            f1 = learner.judged()
        if f1 is not None and learner.chooses and f1 >= state.best_f1:
            state.best_f1, state.best = f1, copy.deepcopy(learner.network.state_dict())
            learner.best_so_far()
        if checkpoints is not None and is_checkpoint and is_first():
            checkpoints.write(iteration, learner.network, f1, learner.metadata)
        state.done = iteration
        if keeper is not None and is_first() and keeper.is_due(checked=f1 is not None):
            keeper.keep(_kept(learner, state))
        yield Progress(iteration, iterations, state.smoothed, f1)
    if state.best:
        learner.network.load_state_dict(state.best)
    learner.finish()


def _kept(learner: Learner, state: _State) -> Kept:
    tensors = {f"network/{name}": tensor for name, tensor in learner.network.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in state.best.items()}
    for number, values in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items() if value is not None}
    tensors["torch_rng"] = torch.get_rng_state()
    facts = {
        "done": state.done,
        "smoothed": state.smoothed,
        "best_f1": state.best_f1,
        "rng": learner.rng.bit_generator.state,
        "memory": learner.memory(),
    }
    return Kept(facts, tensors)


def _restored(learner: Learner, kept: Kept) -> _State:
    learner.network.load_state_dict(kept.under("network"))
    optimizer = learner.optimizer.state_dict()
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in kept.under("optimizer").items():
        number, _, key = name.partition("/")
        values.setdefault(int(number), {})[key] = tensor
    learner.optimizer.load_state_dict(optimizer | {"state": values})
    torch.set_rng_state(kept.tensors["torch_rng"])
    learner.rng.bit_generator.state = kept.facts["rng"]
    learner.recall(kept.facts["memory"])
    return _State(kept.facts["done"], kept.facts["smoothed"], kept.facts["best_f1"], kept.under("best"))
