"""Networks that stay on a device, ready to run, each of them once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Literal

import torch
from torch import nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.inference.precision import Decide, Precision
from photon_triage.models.inference.runtime import Runner, prepare_for_inference


class Resident:
    """Networks that share a device.

    memory: bytes that their weights may take together, None for no limit.
    """

    def __init__(self, device: torch.device, memory: int | None = None) -> None:
        self.device, self.memory = device, memory
        self._runners: dict[Hashable, Runner] = {}

    def get(
        self,
        key: Hashable,
        load: Callable[[], nn.Module],
        *,
        dtype: Precision = "auto",
        decide: Decide | None = None,
        batch_size: int | Literal["auto"] | None = None,
    ) -> Runner:
        """The network of that key, such as its path; it is loaded and prepared when it is asked for first.

        Whoever asks again gets the same one, and the options of the first. Raises ModelError where it does not fit
        beside the others.
        """
        if key not in self._runners:
            runner = prepare_for_inference(load(), self.device, dtype=dtype, decide=decide, batch_size=batch_size)
            taken = sum(self.tally().values())
            if self.memory is not None and taken + runner.bytes > self.memory:
                raise ModelError(
                    f"Cannot keep {key} on {self.device}: it takes {runner.bytes / 1e6:.0f} MB of weights, "
                    f"{taken / 1e6:.0f} of {self.memory / 1e6:.0f} MB are taken.",
                    "Drop another network first.",
                )
            self._runners[key] = runner
        return self._runners[key]

    def drop(self, key: Hashable) -> None:
        """Forget a network; what nobody else holds of it is freed."""
        self._runners.pop(key, None)

    def tally(self) -> dict[Hashable, int]:
        """Bytes of weights by network."""
        return {key: runner.bytes for key, runner in self._runners.items()}
