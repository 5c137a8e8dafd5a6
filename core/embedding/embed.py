"""From the frames that reach the network to embeddings on disk, and from those to the orders of two queues."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.errors import SessionError
from photon_triage.core.embedding import kinds
from photon_triage.core.embedding.embedders import FrameFeatures, features_by
from photon_triage.core.embedding.frame_reader import BatchReader, evenly, reaching
from photon_triage.core.embedding.store import EmbeddingPart, EmbeddingStore, Places, joined, known, place_arrays
from photon_triage.core.session.models.catalog import find_model, models_in_use
from photon_triage.core.session.session import Session

PART_FRAMES, PART_S = 4096, 60.0
"""A part is written when it has so many frames, or after so many seconds: no more is lost with the process."""
_HALF = (float(np.finfo(np.float16).min), float(np.finfo(np.float16).max))


@dataclass(frozen=True)
class Embedded:
    """What an embedding came to: new and all embedded frames, those not readable, features, kinds, and the model."""

    new: int
    frames: int
    waiting: int
    unreadable: int
    features: int
    kinds: int
    model: str


def embed(
    session: Session,
    model: str | None = None,
    *,
    most: int | None = None,
    kinds_wanted: int = kinds.KINDS,
    device: str | None = None,
    seed: int = 0,
    note: Callable[[int, int], None] = lambda done, planned: None,
) -> Embedded:
    """Embed the frames that are not embedded yet, at most so many, and order all by kind and by loneliness.

    model: that of the recipe's first network, as in use, if None. Embeddings of another model are replaced.
    `note(done, planned)` is called after each batch. Raises SessionError, ModelError.
    """
    entry = find_model(model or model_in_use(session), session.models_path)
    store, name = EmbeddingStore(session), entry.path.name
    with store.writing():
        network = features_by(session, entry, device)
        if store.model() not in (None, name):
            store.clear()
        everything = reaching(session)
        left = everything.take(~known(everything, [part.places for part in store.parts()]))
        chosen = left.take(evenly(len(left), most))
        added = unreadable = 0
        if len(chosen):
            added, unreadable = _add(session, store, network, name, chosen, note)
        counted, frames = order_all(store, kinds_wanted, seed)
        return Embedded(added, frames, len(left) - added, unreadable, network.size, counted, entry.name)


def model_in_use(session: Session) -> str:
    """The name of the model of the recipe's first network, which sees every frame that is embedded.

    Raises SessionError where the recipe has none.
    """
    models = models_in_use(session)
    if not models:
        raise SessionError(
            f"Could not take features of frames in {session.path}: its recipe has no network.",
            "Name a model with --model, such as hitnet-spi.",
        )
    return next(iter(models.values()))


def _add(
    session: Session,
    store: EmbeddingStore,
    network: FrameFeatures,
    model: str,
    chosen: Places,
    note: Callable[[int, int], None],
) -> tuple[int, int]:
    """Embed frames, part after part; returns how many, and how many cannot be read."""
    # Pairs, so that an interruption cannot leave frames without their vectors.
    fresh: list[tuple[Places, NDArray[np.float16]]] = []
    done, written_at = 0, time.monotonic()

    def write() -> None:
        nonlocal written_at
        written_at = time.monotonic()
        if fresh:
            places, vectors = zip(*fresh, strict=True)
            fresh.clear()
            store.add(EmbeddingPart(joined(places), np.concatenate(vectors), model))

    with BatchReader(session) as reader:
        try:
            for chunk, batch in reader.read(chosen):
                fresh.append((chunk, network(batch).cpu().numpy().clip(*_HALF).astype(np.float16)))
                done += len(chunk)
                note(done + reader.unreadable, len(chosen))
                if sum(len(some) for some, _ in fresh) >= PART_FRAMES or time.monotonic() - written_at >= PART_S:
                    write()
        finally:
            write()
        return done, reader.unreadable


def order_all(store: EmbeddingStore, count: int = kinds.KINDS, seed: int = 0) -> tuple[int, int]:
    """Write the orders of the queues; returns how many kinds and frames. Must be the only writer; raises SessionError.

    Vectors are read part by part, twice; clusters and neighbours are of a sample of kinds.SAMPLE.
    """
    rng = np.random.default_rng(seed)
    drawn = kinds.sample((part.vectors for part in store.parts()), kinds.SAMPLE, rng)
    if not len(drawn):
        store.order_path.unlink(missing_ok=True)
        return 0, 0
    scale = kinds.Scale.of(drawn)
    others = scale(drawn)
    centres = kinds.cluster(others, count, rng)
    places, kind, away, lonely = [], [], [], []
    for part in store.parts():
        scaled = scale(part.vectors)
        nearest, distance = kinds.nearest_centres(scaled, centres)
        places.append(part.places)
        kind.append(nearest)
        away.append(distance)
        lonely.append(kinds.loneliness(scaled, others))
    every, of_kind, alone = joined(places), np.concatenate(kind), np.concatenate(lonely)
    store.write(
        store.order_path,
        kind=of_kind,
        loneliness=alone,
        kinds=kinds.one_of_each(of_kind, np.concatenate(away)),
        outliers=np.argsort(-alone, kind="stable"),
        **place_arrays(every),
    )
    return len(np.unique(of_kind)), len(every)
