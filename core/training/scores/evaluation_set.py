"""The evaluation set of a model in words: no score is shown without them."""

from __future__ import annotations

from collections.abc import Mapping

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.training.data.sources import IMPORTED, LABELS, SIMULATED

NO_ESTIMATE = "not an estimate for the beamtime"
"""What scores on labels are not: who ranks frames and labels the best ones leaves out most of the hard ones."""

KINDS = {LABELS: "ranked", IMPORTED: "imported", SIMULATED: "simulated", AUDIT: "audit"}
"""Kinds of labels by their source. Those decided on the screen are of frames that a queue has ranked."""


def held_out_labels(counts: Mapping[str, int]) -> str:
    """Labels of one session that were held out of training; counts: how many are from each source."""
    told = " and ".join(f"{counts[source]} {kind}" for source, kind in KINDS.items() if counts.get(source))
    return f"{told or 'no'} labels held out of training; {NO_ESTIMATE}"


def labels_of(session: Session, count: int) -> str:
    """All labels of another session."""
    return f"{count} labels of the session {session.path}; {NO_ESTIMATE}"


def held_out_images(count: int, *, chose: bool) -> str:
    """Images with masks or points; chose: whether they chose the checkpoint too."""
    return f"{count} images held out of training" + (", which chose the checkpoint too" if chose else "")


def held_out_masks(count: int, *, chose: bool) -> str:
    """Frames of a session whose masks were accepted."""
    told = ", which chose the checkpoint too" if chose else ""
    return f"{count} frames with accepted masks held out of training{told}; {NO_ESTIMATE}"


def clean_images(count: int) -> str:
    """Images with clean masks, in a training on masks of doubtful quality."""
    return f"{count} images of the clean set"
