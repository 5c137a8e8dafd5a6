"""Dispatch of a training request: which model it continues, and which task carries it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import find_model, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.sources import SIMULATED, SOURCES
from photon_triage.core.training.loop.checkpoints import Trained
from photon_triage.core.training.loop.folder import settings_of
from photon_triage.core.training.loop.progress import Note
from photon_triage.core.training.loop.runs import training_run
from photon_triage.core.training.model.initial_weights import WEIGHTS
from photon_triage.core.training.model.job import (
    FINDERS,
    PROFILERS,
    SEGMENTERS,
    STAGE_OF,
    NetworkJob,
    Prepare,
    checked,
    family_of,
    name_for,
    require_known,
    train_network,
)
from photon_triage.core.training.tasks.patches.candidates import prepare_candidates
from photon_triage.core.training.tasks.patches.finder_job import prepare_objects
from photon_triage.core.training.tasks.profiles.profile_learner import prepare_profiles
from photon_triage.core.training.tasks.segmentation.segmenter_job import prepare_accepted_masks, prepare_masks
from photon_triage.models.darknet.darknet import shipped_cfgs

DRAWN = ("masks", "points", "within")
OF_FILES = {"masks", "only", "classes", "void", "normalise"}
USED: Mapping[Prepare, set[str]] = {
    prepare_masks: {*OF_FILES, "crop", "loss", "weighted"},
    prepare_accepted_masks: {"sources", "normalise", "crop", "loss", "weighted"},
    prepare_objects: {*OF_FILES, "points", "within", "margin", "negatives"},
    prepare_candidates: {"sources", "normalise", "classes", "negatives"},
    prepare_profiles: {"sources"},
}
"""The parts of a job that each training has a use for, beside those that all have."""
PARTICULAR = set[str]().union(*USED.values())
OPTIONS = {"weighted": "class-weights", "sources": "from"}
"""What the command calls them, where that is another name."""


@dataclass(frozen=True)
class Asked:
    """A new network of a cfg or of a family, with what its weights begin with; or a model to continue.

    With all of them None the model in use is continued.
    """

    cfg: str | None = None
    family: str | None = None
    base: str | None = None
    init: str | None = None


def asked(model: str | None, init: str | None, session: Session, *, changed: bool = False) -> Asked:
    """What the two options mean together.

    model: a shipped cfg, the path of a cfg, a family of networks, or a model that there is, which is then continued.
    init: a model that there is, a .safetensors file or, with a network, a Darknet .weights file. changed: whether the
    network is to be built with options of its own. Raises TrainingError that says what is allowed.
    """
    is_weights = init is not None and Path(init).suffix == WEIGHTS
    if init is not None and not is_weights:
        find_model(init, session.models_path)
    if model is None:
        if is_weights:
            raise TrainingError(
                f"Could not begin with {init}: a Darknet file does not say of which network it is.",
                f"Name the network: --model with one of {', '.join(shipped_cfgs())}, or a cfg file.",
            )
        return Asked(base=init)
    if model in STAGE_OF:
        if is_weights:
            raise TrainingError(
                f"Could not begin a {model} network with {init}: it is a file of a Darknet network.",
                "Give the name of a model or a .safetensors file.",
            )
        if init is not None and not changed and family_of(find_model(init, session.models_path)) == model:
            return Asked(base=init)
        return Asked(family=model, init=init)
    if model in shipped_cfgs() or Path(model).suffix == ".cfg":
        return Asked(cfg=model, init=init)
    known = shipped_models() | session_models(session.models_path)
    if model in known and init is None:
        return Asked(base=model)
    raise TrainingError(
        f"Could not train {model!r}: " + ("it is a model already." if model in known else "no network has that name."),
        f"Allowed for --model: {', '.join((*shipped_cfgs(), *STAGE_OF))}, the path of a .cfg file, or a model to "
        f"continue without --init: {', '.join(sorted(known))}.",
    )


def run_network_training(job: NetworkJob, note: Note = lambda done, planned, loss, f1: None) -> Trained:
    """Train, score, save and register a segmenter or a patch finder, from images or from the session's labels.

    What was interrupted goes on where it was.

    Raises TrainingError, SourceError, LabelError, SessionError or ModelError.
    """
    family = job.network
    if family is None and job.base is not None:
        family = family_of(find_model(job.base, job.session.models_path))
    if family is None and not job.images and _profiles_in_use(job):
        family = PROFILERS[0]
    if family is not None:
        require_known(family)
    if family in PROFILERS:
        if job.images or SIMULATED in job.sources:
            raise TrainingError(
                "Could not train on profiles of files: a radial network learns from a session's labels.",
                "Leave --images and --from simulated out.",
            )
        return _run(job, PROFILERS, prepare_profiles, note)
    if job.images:
        if family is None:
            raise TrainingError(
                "Could not train on images: no network was named.",
                f"Give --model with one of {', '.join(STAGE_OF)}, or --init with a model to continue.",
            )
        finds = family in FINDERS
        return _run(job, FINDERS if finds else SEGMENTERS, prepare_objects if finds else prepare_masks, note)
    if SIMULATED in job.sources:
        raise TrainingError(
            "Could not train on simulated frames: what is simulated is single particles, for detectors.",
            f"Allowed for --from here: {', '.join(name for name in SOURCES if name != SIMULATED)}.",
        )
    if given := [name for name in DRAWN if getattr(job, name)]:
        raise TrainingError(f"Could not train: --{given[0]} was given without --images.", "Add the --images.")
    finds = family in FINDERS if family is not None else job.session.recipe().patches is not None
    return _run(job, FINDERS if finds else SEGMENTERS, prepare_candidates if finds else prepare_accepted_masks, note)


def trains_network(job: NetworkJob) -> bool:
    """Whether this is for a segmenter or a patch finder, not for a detector, which learns from labels alone."""
    if job.images or job.network is not None or any(getattr(job, name) for name in DRAWN):
        return True
    if job.base is not None:
        return family_of(find_model(job.base, job.session.models_path)) in STAGE_OF
    recipe = job.session.recipe()
    return _profiles_in_use(job) or (recipe.classify is None and bool(recipe.networks))


def _profiles_in_use(job: NetworkJob) -> bool:
    """Whether the model that classifies in this session is one on radial profiles."""
    name = job.session.engine_state().models.get("classify")
    return bool(name) and family_of(find_model(str(name), job.session.models_path)) in PROFILERS


def _run(job: NetworkJob, families: tuple[str, ...], prepare: Prepare, note: Note) -> Trained:
    base = checked(job, families)
    _refuse_unused(job, prepare)
    named = replace(job, name=name_for(job, base))
    settings = settings_of(job, base=base and base.path.name)
    with training_run(job.session, str(named.name), settings, anew=job.anew, command=job.command,
        checkpoint_every=job.checkpoint_every, checkpoints_kept=job.checkpoints_kept,
    ) as run:  # fmt: skip
        return train_network(prepare, named, base, run, note)


def _refuse_unused(job: NetworkJob, prepare: Prepare) -> None:
    """Raise TrainingError for what was asked for and would change nothing."""
    usual = NetworkJob(job.session)
    for name in sorted(PARTICULAR - USED[prepare]):
        if getattr(job, name) != getattr(usual, name):
            allowed = ", ".join(f"--{OPTIONS.get(each, each)}" for each in sorted(USED[prepare]))
            raise TrainingError(
                f"Could not train: --{OPTIONS.get(name, name)} was given, of which this training has no use.",
                f"Leave it out. Beside what all trainings have in common this one knows {allowed}.",
            )
