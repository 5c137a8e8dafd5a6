"""Whether what there is to learn from stands for the beamtime, before a training and after it."""

from __future__ import annotations

import torch

from photon_triage.core.common.errors import TriageError
from photon_triage.core.prepare import Preparation, preparation_for
from photon_triage.core.session.models.catalog import find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.examples import Examples, gather
from photon_triage.core.training.data.sources import DEFAULT_SOURCES, choose
from photon_triage.core.training.evaluation.feature_distance import feature_distance
from photon_triage.core.training.evaluation.representativeness import Representation, represent
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import load_detector
from photon_triage.models.inference.precision import best_device

LEAST = 3
"""Frames between which a distance is worth telling."""


def labels_report(session: Session, device: str | None = None) -> Representation:
    """What a training on the session's labels would learn from, those of the audit left out, beside the beamtime.

    Features are those of the detector in use; without one, or where it or the frames cannot be read, there are none.
    Raises SessionError where no engine has run.
    """
    labels = [
        label
        for label in choose(session.labels().labels.values(), DEFAULT_SOURCES).labels
        if label.verdict != "skipped"
    ]
    verdicts = {label.key: label.verdict == "accepted" for label in labels}
    said = represent(session, verdicts)
    classify = session.recipe().classify
    if classify is None or said.learned < LEAST:
        return said
    name = session.engine_state().models.get("classify") or classify.model
    try:
        detector = load_detector(find_model(str(name), session.models_path).path)
        network = detector.network
        preparation = preparation_for(session.recipe(), network.input_size, network.in_channels)
        examples = gather(session, preparation, labels)
    except (TriageError, ModelError):
        return said
    return represent(
        session,
        verdicts,
        feature_distance(session, network, preparation, examples.counts, set(examples.keys), best_device(device)),
    )


def representation_of(
    session: Session, examples: Examples, network: Darknet, preparation: Preparation, device: torch.device, seed: int
) -> Representation:
    """What a detector has learned from beside the beamtime, by its own features too."""
    verdicts = dict(zip(examples.keys, examples.positive.tolist(), strict=True))
    known = set(examples.keys)
    return represent(
        session, verdicts, feature_distance(session, network, preparation, examples.counts, known, device, seed)
    )
