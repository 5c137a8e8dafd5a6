"""The frames of a session, to find those that a list from elsewhere names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from photon_triage.core.compare.lists import LoadedList
from photon_triage.core.export.frame_lists import event_names
from photon_triage.core.export.list_content import Selection
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.session.decisions.matching import labels_of
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FileRow


@dataclass(frozen=True, eq=False)
class KnownFrames:
    """What was read in a session: its files, its frames' digests where they have one, its labels and its selection.

    labels: accepted or not, of frames; where the session lists candidates, of the frames on which somebody judged one:
    accepted where any is. selected: the frames that the session itself selects.
    """

    files: tuple[FileRow, ...]
    digests: dict[FrameKey, str | None]
    labels: dict[FrameKey, bool]
    selected: frozenset[FrameKey]
    roots: tuple[str, ...] = ()

    @classmethod
    def of(cls, session: Session, threshold: float | None = None) -> KnownFrames:
        """The frames of a session, selected at its own threshold if none is given; raises SessionError."""
        recipe, book = session.recipe(), session.labels()
        selection = Selection("both", session.threshold(book) if threshold is None else threshold)
        reader = session.results()
        try:
            digests = {row.key: row.digest for row in reader.all_frames()}
            rows = list(reader.listing(recipe.unit).all())
            files = tuple(sorted(reader.files(), key=lambda file: file.path))
        finally:
            reader.close()
        radius = recipe.patches.min_distance if recipe.patches else 0.0
        of_rows = labels_of((row.key for row in rows), book.labels, radius)
        labels: dict[FrameKey, bool] = {}
        for key, label in book.labels.items():
            if label.verdict != "skipped" and key.frame in digests:
                labels[key.frame] = labels.get(key.frame, False) or label.verdict == "accepted"
        selected = frozenset(row.key.frame for row in rows if selection.holds(row, of_rows.get(row.key)))
        return cls(files, digests, labels, selected, tuple(recipe.source.roots))

    def file(self, path: str, folder: Path) -> FileRow | None:
        """The file of that path, absolute or from a folder, under its own name or through links."""
        absolute = path if Path(path).is_absolute() else os.path.normpath(folder / path)
        return self._by_path.get(absolute) or self._by_real_path.get(os.path.realpath(absolute))

    def frame(self, file: FileRow, index: int) -> FrameKey | None:
        """The frame of that index, if it was read."""
        key = FrameKey(file.path, file.dataset, index)
        return key if key in self.digests else None

    def frames_of(self, file: FileRow) -> list[FrameKey]:
        """The frames of a file that were read."""
        return self._by_file.get(file.path, [])

    def of_digest(self, digest: str) -> FrameKey | None:
        """The only frame with these pixels; None where there is none, or several."""
        found = self._by_digest.get(digest, ())
        return found[0] if len(found) == 1 else None

    def of_event(self, file: FileRow, event: str) -> FrameKey | None:
        """The frame that CrystFEL calls so."""
        if file.path not in self._events:
            keys = [key for key in self.digests if key.file == file.path]
            names = event_names(keys, self.roots)
            self._events[file.path] = {names.get(key, f"//{key.index}"): key for key in keys}
        return self._events[file.path].get(event)

    def of_name(self, stem: str) -> FileRow | None:
        """The session's only file, else the only one whose name without its suffix is that."""
        if len(self.files) == 1:
            return self.files[0]
        found = [file for file in self.files if Path(file.path).stem == stem]
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_path(self) -> dict[str, FileRow]:
        return {file.path: file for file in self.files}

    @cached_property
    def _by_real_path(self) -> dict[str, FileRow]:
        return {os.path.realpath(file.path): file for file in self.files}

    @cached_property
    def _by_file(self) -> dict[str, list[FrameKey]]:
        found: dict[str, list[FrameKey]] = {}
        for key in self.digests:
            found.setdefault(key.file, []).append(key)
        return found

    @cached_property
    def _by_digest(self) -> dict[str, Sequence[FrameKey]]:
        found: dict[str, list[FrameKey]] = {}
        for key, digest in self.digests.items():
            if digest is not None:
                found.setdefault(digest, []).append(key)
        return dict(found)

    @cached_property
    def _events(self) -> dict[str, dict[str, FrameKey]]:
        return {}


OWN = "this session"
COMMON = "common to all lists"


@dataclass(frozen=True, slots=True)
class AgainstLabels:
    """A selection: its frames, its entries that the session has not read, and the labelled frames by both."""

    name: str
    kind: str
    selected: int
    unmatched: int
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class AgainstAnother:
    """Two selections over all frames that were read, the second taken for the truth."""

    first: str
    second: str
    confusion: Confusion


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """The table. common: the frames that all lists hold."""

    frames: int
    lists: tuple[AgainstLabels, ...]
    pairs: tuple[AgainstAnother, ...]
    common: frozenset[FrameKey]


def compare(known: KnownFrames, lists: Sequence[LoadedList], members: Sequence[LoadedList] = ()) -> ComparisonTable:
    """Hold lists, what they have in common and the session's own selection against its labels; and each pair.

    members: what lists were made of, held against the labels alone.
    """
    common = frozenset.intersection(*(each.keys for each in lists)) if lists else frozenset()
    every = [LoadedList(OWN, "session", known.selected, 0), *lists]
    shown = [*every, LoadedList(COMMON, "session", common, 0)] if len(lists) > 1 else every
    shown = [*members, *shown]
    against = tuple(
        AgainstLabels(each.name, each.kind, len(each.keys), each.unmatched, _with_labels(each.keys, known.labels))
        for each in shown
    )
    pairs = tuple(
        AgainstAnother(one.name, other.name, _with_another(one.keys, other.keys, len(known.digests)))
        for one, other in combinations(every, 2)
    )
    return ComparisonTable(len(known.digests), against, pairs, common)


def _with_labels(keys: Set[FrameKey], labels: Mapping[FrameKey, bool]) -> Confusion:
    tp = sum(true and key in keys for key, true in labels.items())
    fp = sum(not true and key in keys for key, true in labels.items())
    positives = sum(labels.values())
    return Confusion(tp, fp, positives - tp, len(labels) - positives - fp)


def _with_another(keys: Set[FrameKey], others: Set[FrameKey], frames: int) -> Confusion:
    both = len(keys & others)
    return Confusion(both, len(keys) - both, len(others) - both, frames - len(keys | others))
