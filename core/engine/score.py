"""Score: the stages of the recipe run over loaded batches; what fails is isolated to the frames that cause it."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

import torch

from photon_triage.core.common.errors import TriageError
from photon_triage.core.engine.events import Frames, Purpose
from photon_triage.core.engine.load import LoadedBatch, Parcel, cut, load_batch
from photon_triage.core.engine.networks import RunningStages
from photon_triage.core.engine.powder_sum import GrowingPowder
from photon_triage.core.engine.shadow import Shadow, ShadowScores
from photon_triage.core.frames import Batch, Geometry
from photon_triage.core.session.decisions.commands import Wishes
from photon_triage.core.stages.cascade import Outcome, Stage, StageFailure, UnusableFrameError, run_cascade

log = logging.getLogger("photon_triage.engine")

AHEAD = 4
"""Parcels that are scored before the first of them is recorded."""
WAIT_S = 0.05
SET_ASIDE_AFTER = 3
"""Frames of a file that fail, while none of it was scored, after which no more of it is read."""
FAILING_FRAMES = 60
"""The same for a file of which others were scored: frames that fail in a row."""
FILES_REMEMBERED = 1000


@dataclass(frozen=True)
class FrameFailure:
    """Why a frame could not be scored.

    misfit: the recipe does not fit the file. unusable: none of the frame's pixels, which says nothing about the file.
    """

    reason: str
    misfit: bool = False
    unusable: bool = False


@dataclass(frozen=True)
class ScoredBatch:
    """A batch with the result for each frame, in order. model: the name of the networks that made them."""

    loaded: LoadedBatch
    model: str | None
    results: Sequence[Outcome | FrameFailure]
    set_aside: frozenset[str] = frozenset()
    """Files of which no more is to be read."""


@dataclass(frozen=True)
class ScoredParcel:
    """A parcel with its results, or shadow scores alone."""

    parcel: Parcel
    batches: tuple[ScoredBatch, ...] = ()
    shadow: tuple[ShadowScores, ...] = ()


class FrameScorer:
    """Scores batches with the stages in use: where a batch fails, its frames are tried by themselves.

    geometry: the recipe's, for what files do not say. Raises only where the device is lost to this process.
    """

    def __init__(self, device: torch.device, geometry: Geometry) -> None:
        self._device, self._geometry = device, geometry
        self._most = 2**31
        """Frames that have fit into the device's memory at once."""
        self._tallies: OrderedDict[str, tuple[bool, int]] = OrderedDict()
        """Of the last files: whether a frame was scored, and how many have failed since."""

    def score(self, stages: Sequence[Stage], loaded: LoadedBatch) -> list[Outcome | FrameFailure]:
        """The result for each frame of a batch, in order."""
        count = len(loaded)
        if loaded.batch is not None and count <= self._most:
            try:
                return [_checked(outcome) for outcome in run_cascade(stages, loaded.batch)]
            except Exception as error:
                if count == 1:
                    return [_failure(error)]
                if not is_out_of_memory(error):
                    return [self._score_one(stages, loaded.parts, index) for index in range(count)]
                self._halve(count, error)
        return self._score_in_parts(stages, loaded.parts, count)

    def note(self, loaded: LoadedBatch, results: Sequence[Outcome | FrameFailure]) -> frozenset[str]:
        """The files of a scored batch of which no more should be read."""
        set_aside = set()
        paths = [part.info.path for part in loaded.parts for _ in part.indices]
        for path, result in zip(paths, results, strict=True):
            scored, failed = self._tallies.pop(path, (False, 0))
            if isinstance(result, FrameFailure):
                failed += not result.unusable
                if result.misfit or failed >= (FAILING_FRAMES if scored else SET_ASIDE_AFTER):
                    set_aside.add(path)
            else:
                scored, failed = True, 0
            self._tallies[path] = (scored, failed)
            if len(self._tallies) > FILES_REMEMBERED:
                self._tallies.popitem(last=False)
        return frozenset(set_aside)

    def _score_in_parts(
        self, stages: Sequence[Stage], parts: Sequence[Frames], count: int
    ) -> list[Outcome | FrameFailure]:
        """Load and score so many frames at once as fit into memory."""
        results: list[Outcome | FrameFailure] = []
        while (start := len(results)) < count:
            stop = min(start + self._most, count)
            try:
                results += map(_checked, run_cascade(stages, self._load(cut(parts, start, stop))))
            except Exception as error:
                if stop - start > 1 and is_out_of_memory(error):
                    self._halve(stop - start, error)
                else:
                    results += [self._score_one(stages, parts, index) for index in range(start, stop)]
        return results

    def _score_one(self, stages: Sequence[Stage], parts: Sequence[Frames], index: int) -> Outcome | FrameFailure:
        try:
            return _checked(run_cascade(stages, self._load(cut(parts, index, index + 1)))[0])
        except Exception as error:
            return _failure(error)

    def _load(self, parts: Sequence[Frames]) -> Batch:
        try:
            return load_batch(parts, self._device, self._geometry)
        except Exception as error:
            raise StageFailure("load", error) from error

    def _halve(self, count: int, error: Exception) -> None:
        self._most = max(count // 2, 1)
        log.warning("out of memory with %d frames at once, from now on at most %d: %s", count, self._most, error)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class ScoreThread(threading.Thread):
    """Takes parcels, scores their batches and puts the results on `scored`, in order, until closed.

    Models, shadow mode and the powder are this thread's alone. idle: called when there is nothing to score.
    say: tells the operators something.
    """

    def __init__(
        self,
        parcels: queue.Queue[Parcel],
        running: RunningStages,
        shadow: Shadow,
        scorer: FrameScorer,
        powder: GrowingPowder | None,
        *,
        idle: Callable[[], None],
        say: Callable[[str, int], None],
    ) -> None:
        super().__init__(name="score", daemon=True)
        self.scored: queue.Queue[ScoredParcel] = queue.Queue(maxsize=AHEAD)
        self.failure: BaseException | None = None
        self.changed: Callable[[], None] = lambda: None
        """Called when another model is in use, before anything is scored with it."""
        self._parcels, self._running, self._shadow, self._scorer = parcels, running, shadow, scorer
        self._powder, self._idle, self._say = powder, idle, say
        self._recorded: queue.SimpleQueue[ScoredBatch] = queue.SimpleQueue()
        self._requested: Wishes | None = None
        self._models: tuple[str, ...] = ()
        self._busy: tuple[str, float] | None = None
        self._closing = threading.Event()

    @property
    def settled(self) -> bool:
        """Whether the last `use` was followed."""
        return self._requested is None

    def busy(self) -> tuple[str, float]:
        """The file whose frames are scored, and for how many seconds; ("", 0) where none are."""
        busy = self._busy
        return ("", 0.0) if busy is None else (busy[0], time.monotonic() - busy[1])

    def use(self, wishes: Wishes) -> None:
        """Take the requested models, between two parcels."""
        self._requested = wishes

    def recorded(self, batch: ScoredBatch) -> None:
        """A batch was recorded: from now on it may be part of the powder, for no engine counts it again."""
        if self._powder is not None and batch.loaded.purpose is Purpose.SCORE:
            self._recorded.put(batch)

    def close(self) -> None:
        """End after the batch in hand."""
        self._closing.set()

    def run(self) -> None:
        """Score; the thread's body."""
        try:
            self.take_models()
            while not self._closing.is_set():
                self.take_models()
                try:
                    parcel = self._parcels.get(timeout=WAIT_S)
                except queue.Empty:
                    self.grow_powder()
                    self._idle()
                    continue
                self._score(parcel)
                self.grow_powder()
        except BaseException as error:
            self.failure = error
            raise

    def take_models(self) -> None:
        """Follow the last `use`."""
        wishes = self._requested
        if wishes is None:
            return
        self._shadow.wish(wishes.shadow)
        if wishes.models != self._models and self._running.models:
            self._models = wishes.models
            before = self._running.model
            for complaint in self._running.use(wishes.models):
                self._say(complaint, logging.ERROR)
            if self._running.model != before:
                self._say(f"in use: {self._running.model}", logging.INFO)
                if self.is_alive():
                    self.changed()
        if self._requested is wishes:
            self._requested = None

    def grow_powder(self, *, final: bool = False) -> None:
        """Add recorded frames to the powder; final: and save it."""
        if self._powder is None:
            return
        while True:
            try:
                batch = self._recorded.get_nowait()
            except queue.Empty:
                break
            try:
                self._add_to_powder(self._powder, batch)
            except Exception as error:  # a picture less is no reason to stop
                log.warning("%s is not in the powder: %s", batch.loaded.parts[0].info.path, error)
        if final:
            self._powder.save()
        else:
            self._powder.save_now_and_then()

    @staticmethod
    def _add_to_powder(powder: GrowingPowder, batch: ScoredBatch) -> None:
        frames = batch.loaded.batch
        scored = [isinstance(each, Outcome) for each in batch.results]
        if frames is None or not any(scored):
            return
        if not all(scored):
            frames = frames.select(torch.tensor(scored, device=frames.frames.device))
        hits = [each.hit for each in batch.results if isinstance(each, Outcome)]
        powder.add(frames, hits, simulated=batch.loaded.parts[0].info.simulated)

    def _score(self, parcel: Parcel) -> None:
        scored, shadow = [], list[ShadowScores]()
        stages = self._running.stages
        for loaded in parcel.batches:
            self._busy = (loaded.parts[0].info.path, time.monotonic())
            if loaded.purpose is Purpose.SHADOW:
                shadow += self._score_shadow(loaded)
            else:
                stages = self._shadow.stages() if loaded.purpose is Purpose.SCORE else self._running.stages
                results = self._scorer.score(stages, loaded)
                set_aside = self._scorer.note(loaded, results) if loaded.purpose is Purpose.SCORE else frozenset()
                scored.append(ScoredBatch(loaded, self._running.model, results, set_aside))
            self._busy = None
        self._hand_over(ScoredParcel(parcel, tuple(scored), tuple(shadow)))
        new = any(loaded.purpose is Purpose.SCORE for loaded in parcel.batches)
        if new and (looked := self._shadow.look_at(stages)):
            self._hand_over(ScoredParcel(Parcel((), (), 0, 0), shadow=tuple(looked)))

    def _score_shadow(self, loaded: LoadedBatch) -> list[ShadowScores]:
        if loaded.batch is None:
            return []
        return self._shadow.look_again(loaded.batch)

    def _hand_over(self, parcel: ScoredParcel) -> None:
        while not self._closing.is_set():
            try:
                self.scored.put(parcel, timeout=WAIT_S)
                return
            except queue.Full:
                continue


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, says that there is no memory for so many frames."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError | torch.OutOfMemoryError):
            return True
        if type(cause) is RuntimeError and "DefaultCPUAllocator: can't allocate memory" in str(cause):
            return True  # torch has no type for it on the CPU
        cause = cause.__cause__
    return False


def is_device_lost(error: BaseException) -> bool:
    """Whether no later computation on the device can succeed in this process, which says nothing about the frame."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and str(cause).startswith("CUDA error"):
            return not is_out_of_memory(error)
        cause = cause.__cause__
    return False


def _checked(outcome: Outcome) -> Outcome | FrameFailure:
    """The outcome, unless a network gave numbers that are none: they would stand for a score."""
    found = [value for each in outcome.detections for value in (each.score, *astuple(each.box))]
    found += [each.score for each in outcome.candidates]
    if outcome.score is not None:
        found.append(outcome.score)
    if all(map(math.isfinite, found)):
        return outcome
    return FrameFailure("A network gave a score or a box that is no finite number.")


def _failure(error: Exception) -> FrameFailure:
    if is_device_lost(error):
        raise error
    if isinstance(error, TriageError):
        return FrameFailure(f"The recipe does not fit: {error}", misfit=True)
    cause = error.cause if isinstance(error, StageFailure) else error
    if isinstance(cause, UnusableFrameError):
        text = str(cause)
        return FrameFailure(f"{text[0].upper()}{text[1:]}.", unusable=True)
    stage = f"The stage {error.stage}" if isinstance(error, StageFailure) else "Scoring"
    text = " ".join(str(cause).split()) or type(cause).__name__
    return FrameFailure(f"{stage} failed on it: {type(cause).__name__}: {text[:300]}")
