"""What `train` is asked to train: which network, and what it begins with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import find_model, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.training.model.initial_weights import WEIGHTS
from photon_triage.core.training.model.job import STAGE_OF, family_of
from photon_triage.models.darknet.darknet import shipped_cfgs


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
