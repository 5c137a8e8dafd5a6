"""CUDA graphs: a network's kernels for one size of batch recorded once, and launched all at once from then on."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import Tensor

from photon_triage.models.inference.precision import InferenceCall

log = logging.getLogger("photon_triage.models")

WARM_UP_RUNS = 3
"""Runs before the recording, in which libraries choose their algorithms and allocate."""


@dataclass(frozen=True)
class Recording:
    """A recorded run: what is put into `batch` before a replay is in `outputs` after it."""

    graph: torch.cuda.CUDAGraph
    batch: Tensor
    outputs: list[Tensor]


class GraphedCall:
    """Runs `call` on batches of `size` frames on a CUDA device by replaying its recording.

    Shorter batches are filled up; frames do not see each other. What cannot be recorded runs as it is.
    """

    def __init__(self, call: InferenceCall, size: int, device: torch.device) -> None:
        self._call, self._size, self._device = call, size, device
        self._recordings: dict[tuple[torch.Size, torch.dtype], Recording | None] = {}

    @torch.inference_mode()
    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The outputs for up to `size` frames."""
        with torch.cuda.device(self._device):
            return self._run(batch)

    def _run(self, batch: Tensor) -> list[Tensor]:
        kind = (batch.shape[1:], batch.dtype)
        if kind not in self._recordings:
            self._recordings[kind] = self._record(batch)
        recording = self._recordings[kind]
        if recording is None:
            return self._call(batch)
        count = len(batch)
        recording.batch[:count].copy_(batch, non_blocking=True)
        recording.graph.replay()
        # Copies: the next replay overwrites the recording's own.
        return [output[:count].clone() for output in recording.outputs]

    def _record(self, batch: Tensor) -> Recording | None:
        still = torch.zeros(self._size, *batch.shape[1:], device=self._device, dtype=batch.dtype)
        still[: len(batch)].copy_(batch)
        try:
            stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream(self._device))
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    self._call(still)
            torch.cuda.current_stream(self._device).wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self._call(still)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            log.warning("not recorded as a CUDA graph: %s", error)
            return None
        return Recording(graph, still, outputs)
