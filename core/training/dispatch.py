"""Which training a job asks for."""

from __future__ import annotations

from photon_triage.core.errors import TrainingError
from photon_triage.core.session.models import find_model
from photon_triage.core.training.finder_job import train_from_objects
from photon_triage.core.training.label_jobs import train_from_accepted_masks, train_from_candidates
from photon_triage.core.training.network_job import FINDERS, STAGE_OF, NetworkJob, family_of, require_known
from photon_triage.core.training.progress import Note
from photon_triage.core.training.registering import Trained
from photon_triage.core.training.segmenter_job import train_from_masks

DRAWN = ("masks", "points", "within")


def run_network_training(job: NetworkJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register a segmenter or a patch finder, from images or from the session's labels.

    Raises TrainingError, SourceError, LabelError, SessionError or ModelError.
    """
    family = job.network
    if family is None and job.base is not None:
        family = family_of(find_model(job.base, job.session.models_path))
    if family is not None:
        require_known(family)
    if job.images:
        if family is None:
            raise TrainingError(
                "Could not train on images: no network was named.",
                f"Give --network with one of {', '.join(STAGE_OF)}, or --base with a model to continue.",
            )
        return (train_from_objects if family in FINDERS else train_from_masks)(job, note)
    if given := [name for name in DRAWN if getattr(job, name)]:
        raise TrainingError(f"Could not train: --{given[0]} was given without --images.", "Add the --images.")
    finds = family in FINDERS if family is not None else job.session.recipe().patches is not None
    return (train_from_candidates if finds else train_from_accepted_masks)(job, note)


def trains_network(job: NetworkJob) -> bool:
    """Whether this is for a segmenter or a patch finder, not for a detector, which learns from labels alone."""
    if job.images or job.network is not None or any(getattr(job, name) for name in DRAWN):
        return True
    if job.base is not None:
        return family_of(find_model(job.base, job.session.models_path)) in STAGE_OF
    recipe = job.session.recipe()
    return recipe.classify is None and bool(recipe.networks)
