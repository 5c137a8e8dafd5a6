"""The stages of a recipe, and which model each of its networks is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from photon_triage.core.common.errors import RecipeError, TriageError
from photon_triage.core.prepare import preparation_for
from photon_triage.core.recipe import (
    AnyStage,
    ClassifyStage,
    LitPixelsStage,
    PatchesStage,
    Recipe,
    SegmentStage,
    SizeStage,
    SpotsStage,
)
from photon_triage.core.session.models.catalog import find_model, joint_name, stage_of
from photon_triage.core.session.session import Session
from photon_triage.core.stages.cascade import Stage
from photon_triage.core.stages.classify import Classify
from photon_triage.core.stages.size import Size
from photon_triage.core.stages.spots import LitPixels, Spots
from photon_triage.models.common.errors import ModelError
from photon_triage.models.cpu.packing import cpu_notices
from photon_triage.models.darknet.detector import load_detector
from photon_triage.models.inference.precision import precision_notice

log = logging.getLogger("photon_triage.engine")


class RunningStages:
    """A recipe's stages as they run: built from the recipe's models, or from those that were asked for instead."""

    def __init__(self, session: Session, device: torch.device) -> None:
        self._recipe, self._models_path, self._device = session.recipe(), session.models_path, device
        self.models: dict[str, str] = {table.kind: table.model for table in self._recipe.networks}
        """The model in use by kind of stage."""
        notices = (precision_notice(device), *cpu_notices(device)) if self.models else ()
        self.notices = [notice for notice in notices if notice]
        """What an operator should know of how the networks run."""
        self.stages = [self._stage(table, self.models.get(table.kind, "")) for table in self._recipe.stages]

    @property
    def model(self) -> str | None:
        """The names of all models in use as one, by which results tell who made them."""
        return joint_name(self.models) or None

    def place_of(self, kind: str) -> int:
        """Where the stage of a kind stands."""
        return next(place for place, table in enumerate(self._recipe.stages) if table.kind == kind)

    def build(self, model: str) -> tuple[str, Stage]:
        """The kind of stage that a model serves, and that stage with it; what is in use stays.

        Raises SessionError, RecipeError or ModelError where it cannot be used.
        """
        kind = stage_of(self._recipe, find_model(model, self._models_path))
        return kind, self._stage(self._recipe.stages[self.place_of(kind)], model)

    def use(self, wished: Sequence[str]) -> list[str]:
        """Take these models in place of those in use; of two for one stage the last counts.

        Returns why some are not used: a stage then keeps the model it has.
        """
        chosen: dict[str, str] = {}
        complaints = []
        for name in wished:
            try:
                chosen[stage_of(self._recipe, find_model(name, self._models_path))] = name
            except TriageError as error:
                complaints.append(f"model {name} not used: {error}")
        for place, table in enumerate(self._recipe.stages):
            name = chosen.get(table.kind, "")
            if not name or name == self.models[table.kind]:
                continue
            try:
                self.stages[place] = self._stage(table, name)
            except (TriageError, ModelError, RuntimeError) as error:  # the last from a device without memory
                complaints.append(f"model {name} not used: {error}")
            else:
                self.models[table.kind] = name
        return complaints

    def _stage(self, table: AnyStage, model: str) -> Stage:
        return build_stage(self._recipe, table, model, self._models_path, self._device)


def check_model(session: Session, model: str) -> str:
    """The kind of stage of the session's recipe that a model serves, once the stage was built with it on the CPU.

    Raises SessionError, RecipeError or ModelError where it cannot be used.
    """
    recipe = session.recipe()
    kind = stage_of(recipe, find_model(model, session.models_path))
    table = next(table for table in recipe.networks if table.kind == kind)
    build_stage(recipe, table, model, session.models_path, torch.device("cpu"))
    return kind


def build_stage(recipe: Recipe, table: AnyStage, model: str, models_path: Path, device: torch.device) -> Stage:
    """A stage of a recipe as it runs; model: of its network, if it asks one.

    Raises SessionError, RecipeError or ModelError where the model cannot be used.
    """
    roi = recipe.prepare.roi
    match table:
        case LitPixelsStage():
            return LitPixels(table, roi)
        case SpotsStage():
            return Spots(table)
        case SizeStage():
            return Size(table, roi)
    entry = find_model(model, models_path)
    log.info("%s with the model %s (%s) on %s", table.kind, model, entry.path, device)
    match table:
        case ClassifyStage() if entry.family == "radial":
            from photon_triage.core.stages.classify import ClassifyProfile
            from photon_triage.models.nets.radial_net import load_profile_classifier

            return ClassifyProfile(table, load_profile_classifier(entry.path), device, roi)
        case ClassifyStage():
            detector = load_detector(entry.path)
            network = detector.network
            preparation = preparation_for(recipe, network.input_size, network.in_channels)
            return Classify(table, detector, preparation, device)
        # An engine imports only the families of networks that its recipe asks for.
        case SegmentStage():
            from photon_triage.core.stages.segment import Segment
            from photon_triage.models.nets.segmenter import load_segmenter

            segmenter = load_segmenter(entry.path)
            if recipe.patches and recipe.patches.within not in (None, *segmenter.classes):
                raise RecipeError(
                    f"Could not segment with {model}: the recipe {recipe.name} searches for candidates within "
                    f"{recipe.patches.within!r}, the model's classes are {', '.join(segmenter.classes)}.",
                    "Use a model that has this class.",
                )
            return Segment(table, segmenter, device, roi)
        case PatchesStage():
            from photon_triage.core.stages.patches import Patches
            from photon_triage.models.nets.patch_finder import load_patch_finder

            return Patches(table, load_patch_finder(entry.path), device, roi)
