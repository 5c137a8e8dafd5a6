"""Shadow mode: a second model scores the same frames as the one in use and decides nothing.

It works only while nothing else waits: on the frames in hand when they are recorded, and, when there is nothing to do,
on frames that were there before: first those of the audit, then others with a label, then the newest.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import TriageError
from photon_triage.core.engine.events import FrameRequest, Purpose
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.recorder import Recorder
from photon_triage.core.frames import Batch, FrameKey
from photon_triage.core.session.decisions.labels import LabelBook
from photon_triage.core.session.models.catalog import joint_name
from photon_triage.core.session.session import Session
from photon_triage.core.stages.cascade import Outcome, Stage, StageFailure, StageResult, run_on_usable
from photon_triage.models.common.errors import ModelError

log = logging.getLogger("photon_triage.engine")

PART_FRAMES = 32
"""Frames after which it is looked whether others wait."""
AGAIN_FRAMES = 64
LABELS_AGAIN_S = 2.0
"""How often it is looked for new labels when there is nothing to do."""


@dataclass(frozen=True)
class ShadowScores:
    """The result of the model in shadow mode for frames of a file: (index, score, candidates)."""

    path: str
    model: str
    scores: Sequence[tuple[int, float, Sequence[Candidate]]]


class Tap:
    """A stage as it is, that remembers the batch it was last shown."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.name, self.columns, self.is_network = stage.name, stage.columns, stage.is_network
        self.seen: Batch | None = None

    def __call__(self, batch: Batch) -> StageResult:
        """What the stage says."""
        self.seen = batch
        return self._stage(batch)


class Shadow:
    """The model that was asked for as a shadow, and what it has yet to score.

    running: the stages in use, in one of which the model takes the place of another. calm: whether nothing waits. say:
    tells the operators something.
    """

    def __init__(
        self,
        session: Session,
        running: RunningStages,
        results: Recorder,
        calm: Callable[[], bool],
        say: Callable[[str, int], None],
    ) -> None:
        self._session, self._running, self._results, self._calm, self._say = session, running, results, calm, say
        self._command = ""
        """The model that was asked for; it is not tried again when it cannot be used."""
        self._wished = ""
        self._kind = ""
        self._stage: Stage | None = None
        self._name = ""
        """Under which it has scored; another one where another model of the recipe has changed."""
        self.scored = 0
        """Frames it has scored, as far as they were recorded."""
        self._forget()

    @property
    def model(self) -> str | None:
        """The model at work as a shadow; None while none is, or while it is in use itself."""
        in_use = self._running.models.get(self._kind) == self._wished
        return None if self._stage is None or in_use else self._wished

    def wish(self, model: str) -> None:
        """Have this model score too, "" for none; it is loaded when nothing waits."""
        if model != self._command:
            self._command = self._wished = model
            self._kind, self._stage, self._name, self.scored = "", None, "", 0

    def stages(self) -> list[Stage]:
        """The stages in use, with a tap on the one in whose place the shadow stands."""
        return self._with(Tap) if self.model else list(self._running.stages)

    def look_at(self, stages: Sequence[Stage]) -> list[ShadowScores]:
        """Score what the tap among these stages has just seen, as far as nothing waits; the rest has time."""
        scores: list[ShadowScores] = []
        if not self._ready():
            return scores  # those frames are found again by what they lack
        batch = next((stage.seen for stage in stages if isinstance(stage, Tap)), None)
        for start in range(0, 0 if batch is None else len(batch), PART_FRAMES):
            if batch is None or not self._calm():
                break
            places = torch.arange(len(batch), device=batch.frames.device)
            part = batch.select((places >= start) & (places < start + PART_FRAMES))
            place = self._running.place_of(self._kind)
            scores += self._score(self._stages()[place:], part)
        return scores

    def look_again(self, batch: Batch) -> list[ShadowScores]:
        """Score frames that were read again for it; where others wait by now, another time."""
        if not self._calm() or not self._ready():
            self._asked.difference_update(batch.keys)
            self._put_off = True
            return []
        return self._score(self._stages(), batch)

    def next_frames(self, lost: Collection[str]) -> FrameRequest | None:
        """The next frames to be read again for it, None where there are none; lost: paths that cannot be read."""
        if not self._calm() or not self._ready():
            return None
        return self._labelled(lost) or self._newest(lost)

    def _ready(self) -> bool:
        """Whether the model is at work; it is loaded now if it was not."""
        if not self._wished or (self._stage is None and not self._calm()):
            return False
        if self._stage is None:
            try:
                self._kind, self._stage = self._running.build(self._wished)
            except (TriageError, ModelError, RuntimeError) as error:
                self._give_up(error)
                return False
            self._say(f"in the shadow: {self._wished}", logging.INFO)
        if self.model is None:
            return False
        name = joint_name({**self._running.models, self._kind: self._wished})
        if name != self._name:
            self._name, self.scored = name, self._results.read(lambda results: results.scored_by(name))
            self._forget()
        return True

    def _give_up(self, error: Exception) -> None:
        self._say(f"model {self._wished} not used as a shadow: {error}", logging.ERROR)
        self._stage, self._wished = None, ""

    def _forget(self) -> None:
        self._book: LabelBook | None = None
        self._looked = 0.0
        self._queue: list[FrameRequest] = []
        self._asked: set[FrameKey] = set()
        self._put_off = False
        """Whether frames that were asked for have to be asked for again."""
        self._below: int | None = None
        self._begun_at = -1

    def _stages(self) -> list[Stage]:
        stage = self._stage
        assert stage is not None
        return self._with(lambda _: stage)

    def _with(self, other: Callable[[Stage], Stage]) -> list[Stage]:
        place = self._running.place_of(self._kind)
        return [other(stage) if at == place else stage for at, stage in enumerate(self._running.stages)]

    def _score(self, stages: Sequence[Stage], batch: Batch) -> list[ShadowScores]:
        try:
            outcomes = run_on_usable(stages, batch)
        except (TriageError, StageFailure) as error:  # of the shadow alone: the triage continues
            self._give_up(error)
            return []
        of_file: dict[str, list[tuple[int, Outcome]]] = defaultdict(list)
        for key, outcome in zip(batch.keys, outcomes, strict=True):
            if outcome is not None:
                of_file[key.file].append((key.index, outcome))
        found = []
        for path, frames in of_file.items():
            scored = [(index, each.score, each.candidates) for index, each in frames if each.score is not None]
            if scored:
                found.append(ShadowScores(path, self._name, scored))
        return found

    def _labelled(self, lost: Collection[str]) -> FrameRequest | None:
        """Frames of the audit, then others with a label; what was asked for once is not asked for again."""
        now = time.monotonic()
        if not self._queue and now - self._looked >= LABELS_AGAIN_S:
            self._looked = now
            first, self._book = self._book is None, self._book or self._session.labels()
            if self._book.refresh() or first or self._put_off:
                self._fill(self._book)
        while self._queue:
            request = self._queue.pop(0)
            if request.path not in lost:
                return request
        return None

    def _fill(self, book: LabelBook) -> None:
        drawn = [frame.key.frame for each in reversed(book.draws) for frame in each.frames]
        for keys in (drawn, [key.frame for key in book.labels]):
            new = [key for key in dict.fromkeys(keys) if key not in self._asked]
            waiting = self._not_scored(new)
            self._asked.update(waiting)
            of_file: dict[tuple[str, str], list[int]] = defaultdict(list)
            for key in waiting:
                of_file[key.file, key.dataset].append(key.index)
            for (path, dataset), indices in of_file.items():
                for start in range(0, len(indices), AGAIN_FRAMES):
                    part = tuple(sorted(indices[start : start + AGAIN_FRAMES]))
                    self._queue.append(FrameRequest(path, dataset, part, Purpose.SHADOW))

    def _not_scored(self, keys: Sequence[FrameKey]) -> list[FrameKey]:
        return self._results.read(lambda results: results.missing.not_scored_by(self._name, keys))

    def _newest(self, lost: Collection[str]) -> FrameRequest | None:
        """From the newest frame down; again from the top where frames have come since, or were put off."""
        newest = self._results.read(lambda results: results.newest_frame())
        if self._below == 0 and (newest != self._begun_at or self._put_off):
            self._below = None
        if self._below is None:
            self._begun_at, self._put_off = newest, False
        if self._below == 0:
            return None
        found = self._results.read(
            lambda results: results.missing.without_score_by(self._name, self._below, AGAIN_FRAMES, lost)
        )
        if found is None:
            self._below = 0
            return self._newest(lost) if self._put_off else None
        self._below, path, dataset, indices = found
        return FrameRequest(path, dataset, tuple(indices), Purpose.SHADOW)
