"""Notes on files: what is said of how their frames were made of what is in them, and of what was left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from photon_triage.core.frames import Geometry
from photon_triage.core.session.store.rows import FileRow
from photon_triage.core.sources.watch import FOLDERS

SAME_VALUE = 1e-6
"""Relative difference below which a file and a recipe say the same."""

_NUMBER = re.compile(r"\d+")
_QUANTITIES = (
    ("photon energy", "eV", ("photon_energy_ev",)),
    ("detector distance", "m", ("detector_distance",)),
    ("pixel size", "m", ("pixel_size",)),
    ("beam centre", "px", ("beam_center_x", "beam_center_y")),
)


@dataclass(frozen=True, slots=True)
class NoteGroup:
    """A note that several files have, numbers that differ among them as a range; files: their paths."""

    text: str
    files: tuple[str, ...]

    def __str__(self) -> str:
        count = len(self.files)
        return f"{self.text} ({self.files[0] if count == 1 else f'{count:,} files'})"

    def as_json(self) -> dict[str, Any]:
        """For a manifest: the note, the number of files and the first of them."""
        return {"text": self.text, "files": len(self.files), "first": self.files[0]}


def group_notes(rows: Iterable[FileRow]) -> list[NoteGroup]:
    """The notes of files, alike ones together, those of most files first."""
    return _groups((note, row.path) for row in rows for note in row.notes)


def group_reasons(rows: Iterable[FileRow], status: str) -> list[NoteGroup]:
    """The reasons of files of a status, alike ones together, those of most files first."""
    return _groups((row.reason or "no reason is known", row.path) for row in rows if row.status == status)


def geometry_notes(file: Geometry, recipe: Geometry) -> list[str]:
    """Notes on what a recipe adds to the geometry that a file tells, and on what it says in vain."""
    added, in_vain = [], []
    for name, unit, fields in _QUANTITIES:
        told = [(getattr(file, field), getattr(recipe, field)) for field in fields]
        if any(mine is None and theirs is not None for mine, theirs in told):
            added.append(name)
        pairs = [(mine, theirs) for mine, theirs in told if mine is not None and theirs is not None]
        if any(not math.isclose(mine, theirs, rel_tol=SAME_VALUE) for mine, theirs in pairs):
            mine, theirs = (", ".join(f"{pair[side]:.6g}" for pair in pairs) for side in (0, 1))
            in_vain.append(f"{name} {theirs} {unit} of the recipe is not used: the file says {mine} {unit}")
    return [*([f"{_listed(added)} taken from the recipe"] if added else []), *in_vain]


def ignored_note(suffixes: Mapping[str, int]) -> str:
    """The note on what was ignored in the folders, the number of each suffix; "" where nothing was."""
    counts = {suffix: count for suffix, count in suffixes.items() if isinstance(count, int) and count > 0}
    folders = counts.pop(FOLDERS, 0)
    below = f"folders not searched: {folders:,}" if folders else ""
    if not (total := sum(counts.values())):
        return below
    most = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    told = [f"{suffix or 'without a suffix'} {count:,}" for suffix, count in most]
    files = f"files ignored: {total:,} ({', '.join(_first(told, 5))})"
    return f"{files}; {below}" if below else files


def _groups(said: Iterable[tuple[str, str]]) -> list[NoteGroup]:
    alike: dict[str, list[tuple[str, str]]] = {}
    for text, path in said:
        alike.setdefault(_NUMBER.sub("#", text), []).append((text, path))
    groups = [
        NoteGroup(_common({text: None for text, _ in pairs}), tuple(dict.fromkeys(path for _, path in pairs)))
        for pairs in alike.values()
    ]
    return sorted(groups, key=lambda group: (-len(group.files), group.text))


def _common(texts: Iterable[str]) -> str:
    """One text for texts that are alike but for their numbers."""
    kept = list(texts)
    numbers = [sorted(set(column), key=int) for column in zip(*map(_NUMBER.findall, kept), strict=True)]
    ranges = iter([each[0] if len(each) == 1 else f"{each[0]}..{each[-1]}" for each in numbers])
    return _NUMBER.sub(lambda _: next(ranges), kept[0])


def _first(texts: Sequence[str], most: int) -> list[str]:
    more = len(texts) - most
    return [*texts[:most], *([f"{more} more"] if more > 0 else [])]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
