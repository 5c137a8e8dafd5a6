"""The frames of a session, to find those that a list from elsewhere names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from photon_triage.core.export.frame_lists import event_names
from photon_triage.core.export.list_content import Selection
from photon_triage.core.frames import FrameKey
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
        of_rows = labels_of((row.key for row in rows), book.labels, recipe.label_radius)
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
