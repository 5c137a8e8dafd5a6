"""The stages of a recipe, and which model each of its networks is."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from photon_triage.core.errors import SessionError, TriageError
from photon_triage.core.prepare import preparation_for
from photon_triage.core.recipe import (
    AnyStage,
    ClassifyStage,
    LitPixelsStage,
    PatchesStage,
    SegmentStage,
    SizeStage,
    SpotsStage,
)
from photon_triage.core.session.in_use import joint_name
from photon_triage.core.session.models import ModelEntry, find_model
from photon_triage.core.session.session import Session
from photon_triage.core.stages.classify import Classify
from photon_triage.core.stages.hits import LitPixels, Spots
from photon_triage.core.stages.size import Size
from photon_triage.core.stages.stage import Stage
from photon_triage.models.detector import load_detector
from photon_triage.models.errors import ModelError
from photon_triage.models.half_precision import precision_notice

log = logging.getLogger("photon_triage.engine")


class RunningStages:
    """A recipe's stages as they run: built from the recipe's models, or from those that were asked for instead."""

    def __init__(self, session: Session, device: torch.device) -> None:
        self._recipe, self._models_path, self._device = session.recipe(), session.models_path, device
        self.models: dict[str, str] = {table.kind: table.model for table in self._recipe.networks}
        """The model in use by kind of stage."""
        notice = precision_notice(device) if self.models else ""
        self.notices = [notice] if notice else []
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
        kind = self._kind_of(find_model(model, self._models_path))
        return kind, self._stage(self._recipe.stages[self.place_of(kind)], model)

    def use(self, wished: Sequence[str]) -> list[str]:
        """Take these models in place of those in use; of two for one stage the last counts.

        Returns why some are not used: a stage then keeps the model it has.
        """
        chosen: dict[str, str] = {}
        complaints = []
        for name in wished:
            try:
                chosen[self._kind_of(find_model(name, self._models_path))] = name
            except TriageError as error:
                complaints.append(f"model {name} not used: {error}")
        for place, table in enumerate(self._recipe.stages):
            name = chosen.get(table.kind, "")
            if not name or name == self.models[table.kind]:
                continue
            try:
                self.stages[place] = self._stage(table, name)
            except (TriageError, ModelError) as error:
                complaints.append(f"model {name} not used: {error}")
            else:
                self.models[table.kind] = name
        return complaints

    def _kind_of(self, entry: ModelEntry) -> str:
        """The kind of stage of this recipe that a model serves; raises SessionError where there is none."""
        kind = entry.stage
        if kind is None or kind not in self.models:
            raise SessionError(
                f"the recipe {self._recipe.name} has no stage for it",
                f"Its networks serve the stages {', '.join(self.models) or '(none)'}.",
                title="Model does not fit",
            )
        return kind

    def _stage(self, table: AnyStage, model: str) -> Stage:
        roi = self._recipe.prepare.roi
        match table:
            case LitPixelsStage():
                return LitPixels(table, roi)
            case SpotsStage():
                return Spots(table)
            case SizeStage():
                return Size(table, roi)
        entry = find_model(model, self._models_path)
        log.info("%s with the model %s (%s) on %s", table.kind, model, entry.path, self._device)
        match table:
            case ClassifyStage() if entry.family == "radial":
                from photon_triage.core.stages.profile import ClassifyProfile
                from photon_triage.models.radialnet import load_profile_classifier

                return ClassifyProfile(table, load_profile_classifier(entry.path), self._device, roi)
            case ClassifyStage():
                detector = load_detector(entry.path)
                network = detector.network
                preparation = preparation_for(self._recipe, network.input_size, network.in_channels)
                return Classify(table, detector, preparation, self._device)
            # An engine imports only the families of networks that its recipe asks for.
            case SegmentStage():
                from photon_triage.core.stages.segment import Segment
                from photon_triage.models.segmenter import load_segmenter

                return Segment(table, load_segmenter(entry.path), self._device, roi)
            case PatchesStage():
                from photon_triage.core.stages.patches import Patches
                from photon_triage.models.patchfinder import load_patch_finder

                return Patches(table, load_patch_finder(entry.path), self._device, roi)
