"""What a training of a detector begins with: a model to continue, or a new network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import ModelEntry, find_model
from photon_triage.core.training.model.initial_weights import initialise
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.learner import OTHER, WANTED
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg, shipped_cfgs
from photon_triage.models.darknet.detector import Detector, load_detector

CLASSES = (WANTED, "multiple", "water", "streak", OTHER)
"""What a new model with as many classes is taught to tell apart, by the names in the labels."""


@dataclass(frozen=True)
class Beginning:
    """A detector as training begins; what it is compared with, and what was copied into it."""

    detector: Detector
    old: Detector | None = None
    parent: str | None = None
    init: dict[str, Any] | None = None

    @property
    def continues(self) -> bool:
        """Whether all of it has learned before."""
        return self.old is not None


def continued(base: ModelEntry) -> Beginning:
    """A model that goes on."""
    return Beginning(load_detector(base.path), load_detector(base.path), base.name)


def new_detector(job: TrainingJob) -> Beginning:
    """A detector of the cfg that was asked for, with random weights or those of `init`.

    Raises ModelError, or TrainingError when nobody knows names for its classes.
    """
    torch.manual_seed(job.seed)
    cfg = shipped_cfg(job.cfg) if job.cfg in shipped_cfgs() else str(job.cfg)
    model = Darknet.from_cfg(cfg, norm_form="cuda")
    init = None if job.init is None else initialise(model, job.init, job.session.models_path)
    count = model.heads[0].classes if model.heads else 0
    learned = tuple((init or {}).get("classes", ())) if init and init["whole"] else ()
    if len(learned) == count and WANTED in learned:
        old = load_detector(find_model(str(job.init), job.session.models_path).path)
        return Beginning(Detector(model, learned), old, str(init and init["from"]), init)
    names = (WANTED,) if count == 1 else CLASSES
    if count > 1 and count != len(CLASSES):
        raise TrainingError(
            f"Could not train {job.cfg}: its head has {count} classes.",
            f"Use a cfg with 1 class, or with {len(CLASSES)}: {', '.join(CLASSES)}.",
        )
    return Beginning(Detector(model, names), init=init)


def base_of(job: TrainingJob) -> ModelEntry:
    """The model to continue: the one asked for, the one in use, or the recipe's."""
    classify = job.session.recipe().classify
    in_use = job.session.engine_state().models.get("classify")
    name = job.base or in_use or (classify.model if classify else None)
    if name is None:
        raise TrainingError(
            f"Could not continue a model in {job.session.path}: its recipe has no classify stage.",
            "Begin a new one with --model hitnet, or name one with --init.",
        )
    return find_model(str(name), job.session.models_path)
