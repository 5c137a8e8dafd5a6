"""Which model each network of a session's recipe is, as the recipe and the journals say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from photon_triage.core.common.errors import SessionError
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.commands import CommandFollower
from photon_triage.core.session.models.catalog import ModelEntry, find_model
from photon_triage.core.session.session import Session


def models_in_use(session: Session) -> dict[str, str]:
    """The model of each kind of stage: the recipe's, else the last one that was asked for and is there."""
    in_use: dict[str, str] = {table.kind: table.model for table in session.recipe().networks}
    for name in CommandFollower(session.journal_path).wishes().models:
        try:
            kind = stage_for(session, name)
        except SessionError:  # it is gone, or never fitted: no engine uses it
            continue
        in_use[kind] = name
    return in_use


def stage_for(session: Session, model: str) -> str:
    """The kind of stage of the session's recipe that a model serves.

    Raises SessionError where there is no such model or no such stage.
    """
    return stage_of(session.recipe(), find_model(model, session.models_path))


def stage_of(recipe: Recipe, entry: ModelEntry) -> str:
    """The kind of stage of a recipe that a model serves; raises SessionError where the recipe has none."""
    kinds = [table.kind for table in recipe.networks]
    if entry.stage in kinds:
        return str(entry.stage)
    served = f"serves a {entry.stage} stage" if entry.stage else "serves no stage of a recipe"
    network = f"its network ({entry.family})" if entry.family else "its file does not name its network, which"
    raise SessionError(
        f"Could not use {entry.name}: {network} {served}, and the recipe {recipe.name} has no stage for it.",
        f"Choose a model for {_one_of(kinds)}; `photon-triage models list SESSION` shows the network of each."
        if kinds
        else "Begin a session with a recipe that asks a network, such as spi, cryoet or tomo.",
        title="Model does not fit",
    )


def _one_of(kinds: Sequence[str]) -> str:
    return " or ".join(f"a {kind} stage" for kind in kinds)


def scored_as(session: Session, model: str, in_use: Mapping[str, str] | None = None) -> str:
    """The name under which results hold what is scored with a model in its stage, beside the others in use."""
    in_use = models_in_use(session) if in_use is None else in_use
    return joint_name({**in_use, stage_for(session, model): model})


def joint_name(models: Mapping[str, str]) -> str:
    """The names of all models in use as one, by which results tell who made them."""
    return " + ".join(models.values())
