"""Some frames of a session scored by a model in this process, where no engine does it; nothing is recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import torch

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.frames import Batch, FrameKey
from photon_triage.core.session.models.catalog import models_in_use
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.frames import read_pixels
from photon_triage.core.session.store.second_scores import nearest_score
from photon_triage.core.sources import FrameReader
from photon_triage.core.stages.cascade import Outcome, run_on_usable

FRAMES_AT_ONCE = 32


def score_frames(
    session: Session,
    model: str,
    keys: Sequence[FrameKey],
    device: torch.device,
    note: Callable[[int], None] = lambda done: None,
) -> dict[FrameKey, float | None]:
    """The scores of frames, or of the candidates at labelled points, by a model in its stage of the session's recipe.

    A score is None where an earlier stage refuses the frame, or no candidate is near the point. Frames that cannot be
    read any more, or have no usable pixel, are left out. note: called with how many frames are done.

    Raises SessionError, RecipeError or ModelError where the model cannot be used.
    """
    running = RunningStages(session, device)
    if complaints := running.use([*models_in_use(session).values(), model]):
        raise SessionError(f"Could not score with {model}: {complaints[-1]}", title="Model not usable")
    recipe, found = session.recipe(), dict[FrameKey, float | None]()
    radius = recipe.label_radius
    on: dict[FrameKey, list[FrameKey]] = defaultdict(list)
    for key in keys:
        on[key.frame].append(key)
    done = 0
    with FrameReader(roots=recipe.source.roots) as reader:
        for part in read_pixels(reader, sorted(on), at_once=FRAMES_AT_ONCE, failed=lambda keys, error: None):
            mask = None if part.valid is None else torch.from_numpy(part.valid).to(device)
            geometry = part.info.geometry.over(recipe.geometry.geometry())
            batch = Batch(part.keys, torch.from_numpy(part.pixels).to(device), mask, geometry)
            for frame, outcome in zip(part.keys, run_on_usable(running.stages, batch), strict=True):
                if outcome is not None:
                    found |= {key: _score(key, outcome, radius) for key in on[frame]}
            done += len(part.keys)
            note(done)
    return found


def _score(key: FrameKey, outcome: Outcome, radius: float) -> float | None:
    if not key.point:
        return outcome.score
    return nearest_score(key, [(each.x, each.y, each.score) for each in outcome.candidates], radius)
