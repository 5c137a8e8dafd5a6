"""Masks that operators accepted in a session, with the images they were drawn on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import Image
from photon_triage.core.training.data.sources import readable_frames
from photon_triage.core.training.model.job import GIVE_IMAGES
from photon_triage.core.training.tasks.segmentation.segmentation import Mapped


def accepted_masks(session: Session, labels: Iterable[Label]) -> tuple[list[Mapped], tuple[str, ...]]:
    """The frames whose segmentation was accepted, with it, and the names of its classes.

    Raises TrainingError where there are fewer than two, or where their classes differ.
    """
    accepted = [label.key for label in labels if label.verdict == "accepted" and not label.key.point]
    masks = _stored_masks(session, accepted)
    classes = {mask.classes for mask in masks.values()}
    if len(masks) < 2:
        raise TrainingError(
            f"Could not train on {session.path}: of its {len(accepted)} accepted frames {len(masks)} have a mask.",
            f"Accept at least two frames whose mask is right. {GIVE_IMAGES}",
        )
    if len(classes) > 1:
        raise TrainingError(
            f"Could not train on {session.path}: its accepted masks are of different classes.",
            f"Scan the frames with one model, and accept their masks again. {GIVE_IMAGES}",
        )
    mapped = []
    for key, image in readable_frames(sorted(masks), session):
        mask = masks[key]
        height, width = mask.values.shape
        window = (slice(mask.top, mask.top + height), slice(mask.left, mask.left + width))
        inner = Image(key, image.pixels[window], image.usable[window], image.simulated)
        mapped.append(Mapped(inner, np.where(inner.usable, mask.values, VOID).astype(np.uint8)))
    return mapped, classes.pop()


def _stored_masks(session: Session, keys: Iterable[FrameKey]) -> dict[FrameKey, ClassMap]:
    found = {}
    reader = session.results()
    try:
        for key in keys:
            row = reader.listing("frames").row_of(key)
            mask = None if row is None else reader.mask(row.id)
            if mask is not None:
                found[key] = mask
    finally:
        reader.close()
    return found
