"""Runners of networks: precision, layout, frames at a time and CUDA graphs are decided here and nowhere else."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError
from photon_triage.models.inference import autotune as speed
from photon_triage.models.inference.precision import (
    Decide,
    DecisionAgreement,
    InferenceCall,
    Network,
    Precision,
    bfloat16_refusal,
    compare_outputs,
    failure_of,
    name_of,
    wanted_precision,
    warn_of_fallback,
)

__all__ = ["InferenceCall", "InferencePlan", "Network", "Runner", "measured_precisions", "prepare_for_inference"]

log = logging.getLogger("photon_triage.models")

WARM_UP_RUNS = 3
"""Runs before the recording, in which libraries choose their algorithms and allocate."""

MEASURED_FRAMES = 8
"""Frames with which precisions are timed."""

MEASURED_ROUNDS = 3
"""Times that they are timed, by turns: whatever else the machine does for a moment then slows one as the other."""

HOPELESS = 3.0
"""Times as slow as float32: a precision that is so in the first round is not timed again."""

TIMED_BATCHES = 4
"""Batches, after a first, over which a faster precision must be so on the frames themselves."""


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


@dataclass(frozen=True)
class InferencePlan:
    """How a network runs. batch_size: frames at a time, None for as many as come. graphs: as recorded CUDA graphs."""

    device: torch.device
    dtype: torch.dtype
    channels_last: bool
    batch_size: int | None = None
    graphs: bool = False

    def __str__(self) -> str:
        parts = [f"{name_of(self.dtype)} on {self.device}"]
        parts += ["channels last"] if self.channels_last else []
        parts += [f"{self.batch_size} frames at a time"] if self.batch_size else []
        parts += ["CUDA graphs"] if self.graphs else []
        return ", ".join(parts)


def prepare_for_inference(
    model: nn.Module,
    device: torch.device,
    *,
    dtype: Precision = "auto",
    decide: Decide | None = None,
    batch_size: int | Literal["auto"] | None = None,
) -> Runner:
    """A function from a batch to the model's raw outputs, with a copy of the model that is made for speed.

    The copy is in evaluation mode, has batch-norm folded in where the model can do that (`fused`), and keeps channels
    last unless the model says otherwise (`channels_last`). The model itself stays as it is.

    dtype: "auto" is float32 until bfloat16 is measured to be faster here, and until `decide` decides alike for enough
    of the first frames; without `decide` it is float32. The environment variable PHOTON_TRIAGE_PRECISION stands in for
    "auto". On NVIDIA's GPUs float32 means TF32 within convolutions, as far as torch allows it. Where the device, or a
    layer of the model, cannot compute in bfloat16, float32 is used and a warning is logged.

    batch_size: larger batches are cut to that, "auto" for what is measured to be best. On such a GPU a batch size makes
    the network run as recorded CUDA graphs.
    """
    return Runner(model, device, wanted_precision(dtype), decide, batch_size)


def measured_precisions(model: nn.Module, device: torch.device, batch: Tensor) -> dict[str, float]:
    """Seconds that the model takes for a batch (batch, channels, height, width), by precision.

    Measured once on a machine and remembered; "bfloat16" is missing where it cannot run. "auto" tries it on real frames
    where it is `speed.WORTHWHILE` times as fast as float32.
    """
    return _precision_seconds(
        model,
        batch.to(device),
        lambda: Network(model, device, torch.float32),
        lambda: Network(model, device, torch.bfloat16),
    )


class Runner:
    """A network that is ready to run; made by `prepare_for_inference`."""

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        precision: Precision,
        decide: Decide | None = None,
        batch_size: int | Literal["auto"] | None = None,
    ) -> None:
        if isinstance(batch_size, int) and batch_size < 1:
            raise ModelError(f"Cannot run {batch_size} frames at a time.", "Allowed: 1 and above.")
        self.agreement = DecisionAgreement()
        self._model, self._decide = model, decide if precision == "auto" else None
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        if dtype == torch.bfloat16 and (reason := bfloat16_refusal(device)):
            warn_of_fallback(device, reason)
            dtype = torch.float32
        self._network = Network(model, device, dtype)
        self._candidate: Network | None = None
        self._race = speed.Race()
        self._batch_size = batch_size
        self._call: InferenceCall | None = None

    @property
    def plan(self) -> InferencePlan:
        """How the network runs now; precision and batch size may still change with the first batches."""
        network, size = self._network, self._batch_size if isinstance(self._batch_size, int) else None
        return InferencePlan(
            network.device, network.dtype, network.channels_last, size, isinstance(self._call, GraphedCall)
        )

    def __call__(self, batch: Tensor) -> list[Tensor]:
        """The raw outputs for a batch (batch, channels, height, width): float32, on the device."""
        if self._call is None:
            self._begin(batch)
        if self._candidate is None or self._decide is None:
            return self._in_parts(batch)
        outputs, taken = speed.timed(self._in_parts, batch, self._network.device)
        self._compare(self._candidate, batch, outputs, taken, self._decide)
        return outputs

    def _begin(self, batch: Tensor) -> None:
        """Choose what depends on the shape of the frames."""
        if self._network.dtype == torch.bfloat16:
            # The whole first part, not a frame of it: weights are laid out for the shape that comes first.
            part = batch[: self._batch_size] if isinstance(self._batch_size, int) else batch
            if reason := failure_of(lambda: self._network(part)):
                device = self._network.device
                warn_of_fallback(device, reason)
                self._network = Network(self._model, device, torch.float32)
        if self._batch_size == "auto":
            frame = batch[:1]
            found = speed.measured_once(
                "batch size", self._model, frame, lambda: speed.batch_sizes(self._network, frame)
            )
            self._batch_size = speed.smallest_of_the_best(found)
        if self._decide is not None:
            self._candidate = _faster_candidate(self._model, self._network, batch[:MEASURED_FRAMES])
        del self._model
        self._choose_call()

    def _choose_call(self) -> None:
        network = self._network
        if network.device.type == "cuda" and isinstance(self._batch_size, int):
            self._call = GraphedCall(network, self._batch_size, network.device)
        else:
            self._call = network

    def _in_parts(self, batch: Tensor) -> list[Tensor]:
        assert self._call is not None
        size = self._batch_size if isinstance(self._batch_size, int) else max(len(batch), 1)
        try:
            parts = [self._call(part) for part in torch.split(batch, size)]
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            torch.cuda.empty_cache()
            self._batch_size = max(1, size // 2)
            log.warning("not enough memory for %d frames at a time, going on with %d", size, self._batch_size)
            self._choose_call()
            return self._in_parts(batch)
        return parts[0] if len(parts) == 1 else [torch.cat(outputs) for outputs in zip(*parts, strict=True)]

    def _compare(self, candidate: Network, batch: Tensor, outputs: list[Tensor], taken: float, decide: Decide) -> None:
        """See whether the faster precision decides alike and is faster; when enough was seen, choose."""
        others, other_taken = speed.timed(candidate, batch, candidate.device)
        self._race.ran(taken, other_taken)
        self.agreement += compare_outputs(outputs, others, decide)
        if self._race.rounds >= TIMED_BATCHES and not self._race.is_won:
            self._candidate = None
            log.info("%s from here on: bfloat16 was not faster on the frames (%s)", self.plan, self._race)
            return
        if not self.agreement.is_enough:
            return
        self._candidate = None
        if self.agreement.is_good:
            self._network = candidate
            self._choose_call()
        log.info(
            "%s from here on: of %d decisions in bfloat16 %d came out otherwise",
            self.plan,
            self.agreement.made,
            self.agreement.differing,
        )


def _faster_candidate(model: nn.Module, network: Network, batch: Tensor) -> Network | None:
    """The network in bfloat16, where that is faster here."""
    if reason := bfloat16_refusal(network.device):
        log.info("no bfloat16: %s", reason)
        return None
    batch = batch.to(network.device)
    made: list[Network] = []

    def half() -> Network:
        if not made:
            made.append(Network(model, network.device, torch.bfloat16))
        return made[0]

    found = _precision_seconds(model, batch, lambda: network, half)
    if "bfloat16" not in found or found["bfloat16"] * speed.WORTHWHILE > found["float32"]:
        return None
    # What was measured before may not hold any more: oneDNN's instructions can be limited by the environment.
    if reason := failure_of(lambda: half()(batch)):
        log.info("no bfloat16: %s", reason)
        return None
    return half()


def _precision_seconds(
    model: nn.Module, batch: Tensor, single: Callable[[], Network], half: Callable[[], Network]
) -> dict[str, float]:
    """What `measured_precisions` gives, with networks that are made only where they are timed."""

    def measure() -> dict[str, float]:
        if reason := bfloat16_refusal(batch.device):
            log.info("no bfloat16: %s", reason)
            return {"float32": speed.seconds(single(), batch)}
        found = {"float32": math.inf, "bfloat16": math.inf}
        try:
            for _ in range(MEASURED_ROUNDS):
                found["float32"] = min(found["float32"], speed.seconds(single(), batch))
                found["bfloat16"] = min(found["bfloat16"], speed.seconds(half(), batch))
                if found["bfloat16"] > HOPELESS * found["float32"]:
                    break
        except RuntimeError as error:
            # Not every device and every layer can.
            log.info("no bfloat16: %s", error)
            del found["bfloat16"]
        return found

    return speed.measured_once("precisions", model, batch, measure)
