"""A detector on a beamtime unlike the one that it learned from: its batch-norms are measured anew, without labels.

Another background or gain moves the values in every layer, and batch-norms that subtract what was the mean elsewhere
leave the layers behind them nothing that they know. Source: Y. Li et al., Adaptive Batch Normalization for practical
domain adaptation, Pattern Recognition 80 (2018).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.containment import parse_json, require_regular
from photon_triage.core.common.errors import TrainingError
from photon_triage.core.embedding.frame_reader import RegionReader, evenly, reaching
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation
from photon_triage.core.session.models.lineage import near
from photon_triage.core.session.session import Session
from photon_triage.core.training.loop.folder import writing
from photon_triage.core.training.loop.runs import TrainingRun
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.layers import BatchNorm

FRAMES, LEAST, AT_ONCE = 512, 64, 64
FAR = 0.05
"""More deviations than means move between beamtimes of one kind; see docs/training.md for what was measured."""

MEASURED = "norms.safetensors"
"""In the training's folder while it lasts: what was measured when it began."""


@dataclass(frozen=True)
class Shift:
    """How far a beamtime is from what the batch-norms of a network have seen.

    frames: on which that was measured. deviations: how far the means of feature maps moved, in the deviations that they
    had, on average over all batch-norms.
    """

    frames: int
    deviations: float

    @property
    def is_far(self) -> bool:
        """Whether the statistics are to be replaced."""
        return self.deviations > FAR

    def as_json(self) -> dict[str, Any]:
        """What the model's record says."""
        return {"frames": self.frames, "deviations": self.deviations, "adapted": self.is_far}


def adapt(
    session: Session,
    network: Darknet,
    preparation: Preparation,
    run: TrainingRun,
    device: torch.device,
    judging: Iterable[FrameKey],
) -> Shift | None:
    """Replace the statistics of a network's batch-norms where those of the session's frames lie far from them.

    judging: frames that judge the result, which with the audit's are left out, as `images_of` does. None where too few
    frames can be read.
    """
    path = run.folder / MEASURED
    with writing(run.folder):
        there = run.goes_on and require_regular(path, session.path)
    if there:
        try:
            with safe_open(path, "pt") as file:
                shift = Shift(**parse_json(file.metadata()["shift"]))
                measured = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, MemoryError) as error:
            raise TrainingError(
                f"Could not go on with the training in {run.folder}: {path.name} cannot be read, {error}.",
                "Begin it anew with --anew.",
            ) from error
    else:
        path.unlink(missing_ok=True)  # of a training that was given up
        images = images_of(session, preparation, device, judging)
        if len(images) < LEAST:
            return None
        measured = statistics(network, images)
        shift = Shift(len(images), _deviations(network, measured))
        with atomic_file(path) as out:
            out.write(save(measured, {"shift": json.dumps(asdict(shift))}))
    if shift.is_far:
        network.load_state_dict(measured, strict=False)
    return shift


def statistics(network: Darknet, images: Tensor) -> dict[str, Tensor]:
    """The mean and variance of all that each batch-norm sees of images, by their names in the network's state.

    images: (n, channels, rows, columns) as the network takes them, where they are to be computed. The network stays as
    it is.
    """
    measured = copy.deepcopy(network).to(device=images.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    norms = {name: module for name, module in measured.named_modules() if isinstance(module, BatchNorm)}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.no_grad():
        for part in torch.tensor_split(images, max(1, round(len(images) / AT_ONCE))):
            measured(part.contiguous(memory_format=torch.channels_last))
    names = [f"{name}.running_{what}" for name in norms for what in ("mean", "var")]
    state = measured.state_dict()
    return {name: state[name].cpu().contiguous() for name in names}


def _deviations(network: Darknet, measured: dict[str, Tensor]) -> float:
    moved = []
    for name, module in network.named_modules():
        if isinstance(module, BatchNorm) and module.running_mean is not None:
            away = measured[f"{name}.running_mean"] - module.running_mean
            moved.append(float((away.abs() / module.deviation()).mean()))
    return float(np.mean(moved)) if moved else 0.0


def images_of(
    session: Session, preparation: Preparation, device: torch.device, judging: Iterable[FrameKey] = ()
) -> Tensor:
    """Frames that reach the network, spread evenly, as it takes them: (n, channels, rows, columns), n at most FRAMES.

    Frames of the audit, those in `judging`, and the neighbours of both are left out: nothing is learned from them.
    """
    places = reaching(session)
    chosen = places.take(evenly(len(places), FRAMES))
    drawn = [each.key for draw in session.labels().draws for each in draw.frames]
    chosen = chosen.take(~near(chosen.keys(), [*drawn, *judging]))
    with RegionReader(session, preparation) as reader:
        regions = (torch.from_numpy(counts).to(device) for _, counts in reader.read(chosen))
        parts = [preparation.to(device).fit(region) for region in regions]
    return torch.cat(parts) if parts else torch.empty(0)
