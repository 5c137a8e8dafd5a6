"""The columns of the candidate list: which fit a width, and what they say of a frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.tui.terminal.text import cells, cut, safe_text

LETTERS = {"accepted": "A", "rejected": "X", "skipped": "S"}
SAVING = "…"
MEASURES = {
    "lit-pixels": ("lit_pixels", "photons"),
    "spots": ("spots",),
    "size": ("diameter_nm", "size_quality"),
    "classify": (),
    "segment": ("foreground", "certainty"),
    "patches": ("candidates",),
}
HEADS = {
    "lit_pixels": "lit",
    "photons": "phot",
    "spots": "pks",
    "diameter_nm": "d/nm",
    "size_quality": "qual",
    "foreground": "fg",
    "certainty": "sure",
    "candidates": "cands",
}
FIXED = 19
"""Cells of marker, frame, score, state and flag with their gaps."""
CLASS_WIDTH = 7
LEAST_SOURCE = 14
FIRST = {"diameter_nm": 0, "spots": 1, "lit_pixels": 2, "photons": 3, "candidates": 4}


@dataclass(frozen=True, slots=True)
class Columns:
    """The measures shown, and the cells left for class, time and source (0: not shown)."""

    measures: tuple[str, ...]
    category: int
    source: int
    width: int


def measures_of(recipe: Recipe) -> tuple[str, ...]:
    """The measures that a recipe's stages record, the most telling first."""
    if recipe.unit == "candidates":
        return ("x", "y")
    found = [name for stage in recipe.stages for name in MEASURES.get(stage.kind, ())]
    return tuple(sorted(dict.fromkeys(found), key=lambda name: FIRST.get(name, len(FIRST))))


def fit_columns(width: int, measures: Iterable[str]) -> Columns:
    """As many columns as fit that many cells."""
    left = width - FIXED
    kept: list[str] = []
    category = source = 0
    names = list(measures)
    # What is worth most comes first: a measure, the class, a second measure, where the frame is from, the rest.
    for name in [*names[:1], "class", *names[1:2], "source", *names[2:]]:
        if name == "class" and left >= CLASS_WIDTH + 1:
            category = CLASS_WIDTH
            left -= category + 1
        elif name == "source" and left >= LEAST_SOURCE + 1:
            source = LEAST_SOURCE
            left -= source + 1
        elif name not in ("class", "source") and left >= _measure_width(name) + 1:
            kept.append(name)
            left -= _measure_width(name) + 1
    return Columns(tuple(kept), category, source + left if source else 0, width)


def header(columns: Columns) -> str:
    """The line above the rows."""
    parts = ["    frame score", *(_head(name).rjust(_measure_width(name)) for name in columns.measures), "? F"]
    if columns.category:
        parts.append("class".ljust(columns.category))
    if columns.source:
        parts.append("source")
    return _fill(" ".join(parts), columns.width)


def row_text(row: FrameRow, columns: Columns, letter: str, flag: str, category: str) -> tuple[str, str, str]:
    """A frame as text before its state letter, the letter, and text after it."""
    score = "    -" if row.score is None else f"{row.score:5.3f}"
    measures = [_measure(row.measures.get(name), _measure_width(name)) for name in columns.measures]
    before = " ".join([f"{row.id:>7} {score}", *measures]) + " "
    after = f" {flag}"
    if columns.category:
        after += " " + _fill(safe_text(category)[: columns.category], columns.category)
    if columns.source:
        after += " " + cut(f"{safe_text(PurePath(row.key.file).name)}#{row.key.index:04d}", columns.source)
    return before, letter, _fill(after, columns.width - 2 - cells(before) - 1)


def letter_of(label: Label | None, lapsed: Label | None = None) -> str:
    """The state of a frame as a letter; a small one for a label from before the frame changed."""
    if label is None:
        return "?" if lapsed is None else LETTERS[lapsed.verdict].lower()
    return LETTERS[label.verdict]


def _head(name: str) -> str:
    return HEADS.get(name, name[:6])


def _measure_width(name: str) -> int:
    return 6 if name in ("photons", "lit_pixels") else max(5 if name in HEADS else 6, len(_head(name)))


def _measure(value: float | None, width: int) -> str:
    if value is None:
        return "-".rjust(width)
    if value == int(value) and abs(value) < 10**width:
        return f"{int(value):>{width}}"
    text = f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"
    return text.rjust(width) if len(text) <= width else f"{value:.0e}".rjust(width)[:width]


def _fill(text: str, width: int) -> str:
    return cut(text, max(width, 0)) + " " * (width - cells(text))
