"""Training, validation and test sets: whole runs and blocks of frames, with all copies of a frame in one set."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.models.lineage import NEIGHBOURS as NEIGHBOURS
from photon_triage.core.session.models.lineage import near as near
from photon_triage.core.session.session import Session

HELD_BACK_IMAGES, HELD_BACK_LABELS = 1 / 6, 1 / 3
ENOUGH_FOR_A_TEST = 6
ENOUGH_FOR_TWO_GAPS = 12
LEAST_BLOCK, MOST_BLOCKS, DRAWS = 10, 12, 20
Item = TypeVar("Item")


def contents_of(frames: Iterable[NDArray[Any]]) -> list[bytes]:
    """A digest of each frame's pixels, whatever their type: the same for copies of a frame in other files."""
    found = []
    for frame in frames:
        # Adding zero makes -0.0 the same as 0.0.
        pixels = np.ascontiguousarray(frame, np.float32) + np.float32(0)
        digest = hashlib.blake2b(str(pixels.shape).encode(), digest_size=16)
        digest.update(pixels.tobytes())
        found.append(digest.digest())
    return found


def same_as(contents: Sequence[bytes] | None, where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames have the content of one of those where `where` is true, (n,) bool; none without contents."""
    if contents is None:
        return np.zeros(len(where), bool)
    held = {content for content, wanted in zip(contents, where.tolist(), strict=True) if wanted}
    return np.array([content in held for content in contents], bool)


def copies_in(session: Session) -> dict[tuple[str, str], tuple[str, str]]:
    """(file, data set) of the files of a session that are copies of others, and of what each is a copy."""
    if not session.results_path.exists():
        return {}
    with closing(session.results()) as reader:
        return reader.copies()


def as_originals(keys: Iterable[FrameKey], copies: Mapping[tuple[str, str], tuple[str, str]]) -> tuple[FrameKey, ...]:
    """The keys with the file and data set that a copy was made from, so that frames of two copies are neighbours.

    copies: (file, data set) of copies, and what each is a copy of.
    """
    named = ((key, *copies.get((key.file, key.dataset), (key.file, key.dataset))) for key in keys)
    return tuple(replace(key, file=file, dataset=dataset) for key, file, dataset in named)


@dataclass(frozen=True)
class Split(Generic[Item]):
    """Three groups; where there are too few for a test of its own, the validation group is the test group too."""

    training: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]

    @property
    def same(self) -> bool:
        """Whether what chose the checkpoint scores it, so that the scores are optimistic."""
        return self.validation == self.test


def split(items: Sequence[Item], keys: Sequence[FrameKey], contents: Sequence[bytes] | None = None) -> Split[Item]:
    """The last sixth for the test, the sixth before it for validation; of fewer than 6, the last one for both.

    Blocks at the end, not a random choice: neighbouring sections of a volume are nearly the same image. One image of
    the same volume is left out between what is learned from and what is held back, where more than two are there, and
    of 12 and more between validation and test too. contents: see `copies.contents_of`; what has the pixels of a
    held-back image is not learned from.

    Raises TrainingError for fewer than 2, or where all are the same.
    """
    places = _split_places(keys, contents)
    return Split(*(tuple(items[place] for place in part) for part in places))


def split_by_run(
    items: Sequence[Item], keys: Sequence[FrameKey], runs: Sequence[str], contents: Sequence[bytes] | None = None
) -> Split[Item]:
    """The same for frames of several runs: of each with enough the last sixths, so that every one is on every side.

    Runs with fewer than 6 are taken together. What is at most NEIGHBOURS frames from a held-back frame of its file is
    not learned from.
    """
    sizes = Counter(runs)
    of_run = defaultdict(list)
    for place, run in enumerate(runs):
        of_run[run if sizes[run] >= ENOUGH_FOR_A_TEST else ""].append(place)
    few = of_run.pop("", [])
    if len(few) >= ENOUGH_FOR_A_TEST or not of_run:
        of_run[""], few = few, []
    parts: list[list[int]] = [few, [], []]
    for members in of_run.values():
        inside = _split_places([keys[place] for place in members])
        for part, chosen in zip(parts, inside, strict=True):
            part.extend(members[place] for place in chosen)
    training, validation, test = (np.isin(np.arange(len(keys)), part) for part in parts)
    held = validation | test
    training &= ~near(keys, _those(keys, held)) & ~same_as(contents, held)
    if not np.array_equal(validation, test):
        validation &= ~near(keys, _those(keys, test)) & ~same_as(contents, test)
    _require_learning(training, keys)
    places = (np.flatnonzero(part).tolist() for part in (training, validation if validation.any() else test, test))
    return Split(*(tuple(items[place] for place in part) for part in places))


def _split_places(keys: Sequence[FrameKey], contents: Sequence[bytes] | None = None) -> tuple[list[int], ...]:
    """The places of the three groups of `split`."""
    count = len(keys)
    if count < 2:
        raise TrainingError(
            f"Could not hold back images to score the network on: there is {count or 'none'}.",
            "Give at least two images.",
        )
    sizes = Counter((key.file, key.dataset) for key in keys)

    def end_before(start: int, *, gap: bool) -> int:
        """Where the block before the one that begins at `start` ends."""
        one, next_one = keys[start - 1], keys[start]
        alone = sizes[one.file, one.dataset] == sizes[next_one.file, next_one.dataset] == 1
        together = alone and Path(one.file).parent == Path(next_one.file).parent
        same = (one.file, one.dataset) == (next_one.file, next_one.dataset)
        return start - 1 if gap and (same or together) else start

    if count < ENOUGH_FOR_A_TEST:
        validation = test = count - 1
        ends = count
    else:
        held = max(1, round(count * HELD_BACK_IMAGES))
        test = count - held
        ends = end_before(test, gap=count >= ENOUGH_FOR_TWO_GAPS)
        validation = ends - held
    inside = np.arange(count)
    training = inside < end_before(validation, gap=count > 2)
    choosing, scoring = (inside >= validation) & (inside < ends), inside >= test
    training &= ~same_as(contents, choosing | scoring)
    _require_learning(training, keys)
    if validation != test:
        choosing &= ~same_as(contents, scoring)
    if not choosing.any():
        choosing = scoring
    return tuple(np.flatnonzero(part).tolist() for part in (training, choosing, scoring))


def _require_learning(training: NDArray[np.bool_], keys: Sequence[FrameKey]) -> None:
    if not training.any():
        raise TrainingError(
            f"Could not hold back images to score the network on: all {len(keys)} are the same or next to each other.",
            "Give more images, of other places or runs.",
        )


@dataclass(frozen=True, eq=False)
class HeldBack:
    """Which labels score the models and which may be learned from, (n,) bool each; some near the former are neither."""

    test: NDArray[np.bool_]
    training: NDArray[np.bool_]


def hold_back(
    keys: Sequence[FrameKey],
    positive: NDArray[np.bool_],
    seed: int,
    contents: Sequence[bytes] | None = None,
    runs: Sequence[str] | None = None,
) -> HeldBack:
    """Keep about a third of either class from training, drawn in blocks, so that no frame is on both sides.

    keys: (n,), of frames or of candidates on them. positive: (n,) bool. contents: the same for frames with the same
    pixels. runs: a name each; the blocks are drawn from all runs alike, a third of each. What is at most NEIGHBOURS
    frames from a test frame in the same file, or has the same pixels, is not learned from. Raises TrainingError where a
    class cannot be on both sides.
    """
    for members, verdict in ((positive, "accepted"), (~positive, "rejected")):
        if members.sum() < 2:
            raise TrainingError(
                f"Could not hold back labels to score the models on: only {int(members.sum())} {verdict} one(s).",
                "Label at least two of either kind.",
            )
    blocks = _blocks(keys)
    run_of = np.zeros(blocks.max() + 1, np.intp)
    if runs is not None:
        run_of[blocks] = np.unique(np.asarray(runs), return_inverse=True)[1]
    wanted = [max(1, round(int(members.sum()) * HELD_BACK_LABELS)) for members in (positive, ~positive)]
    rng = np.random.default_rng(seed)
    for _ in range(DRAWS):
        test = _drawn(blocks, run_of, positive, wanted, rng)
        training = ~test & ~near(keys, _those(keys, test)) & ~same_as(contents, test)
        if all(side[members].any() for side in (test, training) for members in (positive, ~positive)):
            return HeldBack(test, training)
    raise TrainingError(
        "Could not hold back labels to score the models on: those of one kind lie next to each other.",
        "Label frames further apart, or of another file.",
    )


def _blocks(keys: Sequence[FrameKey]) -> NDArray[np.intp]:
    """The number of the block that each frame is in, (n,): neighbours of one file, but not too many."""
    order = sorted(range(len(keys)), key=lambda place: keys[place])
    longest = max(LEAST_BLOCK, len(keys) // MOST_BLOCKS)
    blocks, number, begun = np.zeros(len(keys), np.intp), 0, 0
    before = keys[order[0]].frame
    for place in order:
        key = keys[place].frame
        follows = (key.file, key.dataset) == (before.file, before.dataset) and key.index - before.index <= NEIGHBOURS
        if not follows or (begun >= longest and key != before):
            number, begun = number + 1, 0
        blocks[place], begun, before = number, begun + 1, key
    return blocks


def _drawn(
    blocks: NDArray[np.intp],
    run_of: NDArray[np.intp],
    positive: NDArray[np.bool_],
    wanted: Sequence[int],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Blocks at random until there are enough of either class; a block that adds to none is left.

    run_of: each block's run; the runs take turns, so that the first third of the order is a third of every run.
    """
    counts = np.stack([np.bincount(blocks, members) for members in (positive, ~positive)], 1)
    chosen, held = np.zeros(len(counts), bool), np.zeros(2)
    for block in _in_turns(run_of, rng):
        missing = held < wanted
        if not missing.any():
            break
        if (counts[block] * missing).any():
            chosen[block] = True
            held += counts[block]
    return chosen[blocks]


def _in_turns(run_of: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Blocks in random order, (n,), so that any first part of it holds about that part of every run's blocks."""
    order = rng.permutation(len(run_of))
    if not run_of.any():
        return order
    position = np.empty(len(order))
    for run in np.unique(run_of):
        members = order[run_of[order] == run]
        position[members] = (np.arange(len(members)) + rng.random()) / len(members)
    return np.argsort(position, kind="stable")


def apart(
    keys: Sequence[FrameKey],
    contents: Sequence[bytes],
    others: Iterable[FrameKey],
    other_contents: Iterable[bytes],
) -> NDArray[np.bool_]:
    """Which frames are neither near one of the others nor have its pixels, (n,) bool."""
    theirs = set(other_contents)
    copied: NDArray[np.bool_] = np.array([content in theirs for content in contents], bool)
    return ~(near(keys, others) | copied)


def _those(keys: Sequence[FrameKey], where: NDArray[np.bool_]) -> list[FrameKey]:
    return [keys[place] for place in np.flatnonzero(where).tolist()]
