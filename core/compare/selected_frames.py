"""The frames of a session, to find those that a list from elsewhere names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.export.frame_lists import event_names
from photon_triage.core.export.list_content import Selection
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.matching import LabelMatcher
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FileRow

_NO_INDICES = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class KnownFrames:
    """What was read in a session: its files, its frames' digests where they have one, its labels and its selection.

    recorded: by path, the indices of the frames that were read, rising. labels: accepted or not, of frames; where the
    session lists candidates, of the frames on which somebody judged one: accepted where any is. selected: the frames
    that the session itself selects.
    """

    files: tuple[FileRow, ...]
    recorded: Mapping[str, NDArray[np.int64]]
    digests: Mapping[FrameKey, str]
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
            files = tuple(sorted(reader.files(), key=lambda file: file.path))
            columns = reader.frames().columns()
            digests = {
                FrameKey(file.path, file.dataset, index): digest
                for file in files
                for index, digest in reader.digests(file.path, file.dataset).items()
            }
            judged = {key.frame for key, label in book.labels.items() if label.verdict != "skipped"}
            there = reader.frames().known(judged)
            matcher = LabelMatcher(book.labels, recipe.label_radius)
            rows = reader.frames(recipe.unit).select(selection.filter, selection.besides(book.labels))
            selected = frozenset(row.key.frame for row in rows if selection.holds(row, matcher.of(row.key)))
        finally:
            reader.close()
        recorded = {
            path: np.sort(columns.index[columns.file == place]) for place, (path, _) in enumerate(columns.files)
        }
        labels: dict[FrameKey, bool] = {}
        for key, label in book.labels.items():
            if label.verdict != "skipped" and key.frame in there:
                labels[key.frame] = labels.get(key.frame, False) or label.verdict == "accepted"
        return cls(files, recorded, digests, labels, selected, tuple(recipe.source.roots))

    @cached_property
    def count(self) -> int:
        """How many frames were read."""
        return sum(len(indices) for indices in self.recorded.values())

    def file(self, path: str, folder: Path) -> FileRow | None:
        """The file of that path, absolute or from a folder, under its own name or through links."""
        absolute = path if Path(path).is_absolute() else os.path.normpath(folder / path)
        return self._by_path.get(absolute) or self._by_real_path.get(os.path.realpath(absolute))

    def frame(self, file: FileRow, index: int) -> FrameKey | None:
        """The frame of that index, if it was read."""
        key = FrameKey(file.path, file.dataset, index)
        indices = self.recorded.get(file.path, _NO_INDICES)
        place = int(np.searchsorted(indices, index))
        return key if place < len(indices) and indices[place] == index else None

    def frames_of(self, file: FileRow) -> list[FrameKey]:
        """The frames of a file that were read."""
        return [
            FrameKey(file.path, file.dataset, index) for index in self.recorded.get(file.path, _NO_INDICES).tolist()
        ]

    def of_digest(self, digest: str) -> FrameKey | None:
        """The only frame with these pixels; None where there is none, or several."""
        found = self._by_digest.get(digest, ())
        return found[0] if len(found) == 1 else None

    def of_event(self, file: FileRow, event: str) -> FrameKey | None:
        """The frame that CrystFEL calls so."""
        if file.path not in self._events:
            keys = self.frames_of(file)
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
    def _by_digest(self) -> dict[str, Sequence[FrameKey]]:
        found: dict[str, list[FrameKey]] = {}
        for key, digest in self.digests.items():
            found.setdefault(digest, []).append(key)
        return dict(found)

    @cached_property
    def _events(self) -> dict[str, dict[str, FrameKey]]:
        return {}
