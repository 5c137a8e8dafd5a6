"""What a list is written from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from photon_triage.core.common.errors import ExportError, SourceError
from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.store.filters import ListFilter, Range
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FileRow, FrameRow
from photon_triage.core.sources import FrameReader, SourceInfo

AT_ONCE = 64 * 2**20
"""Bytes that are read in one go."""
Select = Literal["accepted", "predicted", "both", "all"]
SELECTS: tuple[Select, ...] = get_args(Select)
SIMULATED = "Simulated data: these frames come from a simulation, not from an experiment."
ANGSTROM_M = 1e-10
ORIGIN = (
    "pixels from the middle of the first pixel (0, 0); x along a row, y from row to row as the file has them, z the "
    "slice from 0"
)
TIFF_FLIPPED = "; rows of TIFF files count from the last one, as RELION, EMAN, crYOLO and IMOD read them"
_TIFF = (".tif", ".tiff", ".btf", ".tf8", ".stk", ".lsm")
_STACK = ".mrcs"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A frame, its label if it has one, and whether its file is simulated."""

    frame: FrameRow
    label: Label | None
    simulated: bool


def looked_at(reader: FrameReader, file: FileRow) -> tuple[SourceInfo, np.ndarray | None]:
    """What a file holds now and its mask, (height, width) bool, true where valid; raises ExportError.

    It must still be what was triaged: the same shape.
    """
    try:
        info = reader.inspect(file.path, file.dataset or None)
        mask = reader.mask(info)
    except SourceError as error:
        raise ExportError(f"Could not read {file.path} for the export: {error.message}", error.hint) from error
    if info.shape != (file.height, file.width):
        raise ExportError(
            f"Could not export frames of {file.path}: they were {file.height} x {file.width} pixels when they were "
            f"triaged, and are {info.shape[0]} x {info.shape[1]} now.",
            "Triage it again in a new session.",
        )
    return info, mask


def pixels(reader: FrameReader, file: FileRow, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Frames of a file in the order of the indices, some at a time, (n, height, width); raises ExportError."""
    each = file.height * file.width * np.dtype(file.dtype).itemsize
    step = max(1, AT_ONCE // max(1, each))
    for start in range(0, len(indices), step):
        try:
            yield reader.read_indices(file.path, file.dataset, indices[start : start + step])
        except SourceError as error:
            raise ExportError(f"Could not read {file.path} for the export: {error.message}", error.hint) from error


@dataclass(frozen=True, slots=True)
class Selection:
    """A rule that says of a frame whether it is selected.

    "accepted": the operator accepted it. "predicted": its score is at least the threshold, whatever the operator said.
    "both": the operator accepted it, or its score is at least the threshold and the operator did not reject it.
    "all": every frame that was read. only: of these, the frames and candidates that a list from elsewhere holds.
    """

    select: Select
    threshold: float
    only: frozenset[FrameKey] | None = None

    @property
    def filter(self) -> ListFilter | None:
        """What results.db can tell of selected frames: no other is selected but `besides`; None where nothing can."""
        if self.only is not None or self.select == "accepted":
            return None
        return ListFilter() if self.select == "all" else ListFilter(score=Range(low=self.threshold))

    def besides(self, labels: Mapping[FrameKey, Label]) -> Iterable[FrameKey]:
        """The frames that may be selected whatever results.db says of them."""
        if self.only is not None:
            return self.only
        if self.select in ("accepted", "both"):
            return [key for key, label in labels.items() if label.verdict == "accepted"]
        return ()

    def holds(self, frame: FrameRow, label: Label | None) -> bool:
        """Whether a frame with this label is selected."""
        if self.only is not None and frame.key not in self.only and frame.key.frame not in self.only:
            return False
        if self.select == "all":
            return True
        if self.select == "accepted":
            return label is not None and label.verdict == "accepted"
        if self.select == "predicted":
            return self._predicts(frame)
        return self.chooses(frame, label)

    def chooses(self, frame: FrameRow, label: Label | None) -> bool:
        """Whether it is accepted, or reaches the threshold and is not rejected: what tells the rows of "all" apart."""
        verdict = None if label is None else label.verdict
        return verdict == "accepted" or (self._predicts(frame) and verdict != "rejected")

    def _predicts(self, frame: FrameRow) -> bool:
        return frame.score is not None and frame.score >= self.threshold


def write_lines(path: Path, lines: Iterable[str | bytes]) -> None:
    """Write lines without their ends, or bytes with them; text as UTF-8, file names as they are on disk.

    Raises OSError, UnicodeEncodeError for what cannot be written as text.
    """
    with path.open("xb") as file:
        file.writelines(
            line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape") + b"\n" for line in lines
        )


@dataclass(frozen=True, slots=True)
class Options:
    """How some formats are written.

    copy: the frames themselves instead of a virtual data set. box_size: pixels a side of the box about a candidate;
    left open, the recipe's min_distance.
    """

    copy: bool = False
    box_size: int | None = None


RowReader = Callable[[Iterable[str] | None], Iterator[ExportRow]]
"""Rows of the files of these paths, of all where there are none."""


@dataclass(frozen=True)
class ListContent:
    """What a list is written from; its length is the number of selected rows.

    selected, recorded: read rows of files of these paths from the results, a few thousand at a time. written: selected
    rows by path. files: the ledger by path, for the files that have rows. unknown_labels: labels of what is not
    recorded. results: open for as long as the list is written.
    """

    selected: RowReader
    recorded: RowReader
    written: Mapping[str, int]
    files: Mapping[str, FileRow]
    unknown_labels: int
    selection: Selection
    recipe: Recipe
    results: ResultsReader
    options: Options = Options()

    def __len__(self) -> int:
        return sum(self.written.get(path, 0) for path in self.files)

    @property
    def rows(self) -> Iterator[ExportRow]:
        """What is selected, by path, data set and index; read again at each use."""
        return self.selected(self.files)

    @property
    def every(self) -> Iterator[ExportRow]:
        """All that was read, in the same order."""
        return self.recorded(self.files)

    @property
    def simulated(self) -> bool:
        """Whether anything in it is simulated."""
        return any(row.simulated for row in self.files.values())

    @property
    def box_size(self) -> int:
        """Pixels a side of the box about a candidate."""
        if self.options.box_size is not None:
            return self.options.box_size
        return max(1, round(self.recipe.patches.min_distance)) if self.recipe.patches else 1

    def by_file(self) -> Iterator[tuple[FileRow, ListContent]]:
        """The content of each file, in the order of their paths."""
        for path, file in sorted(self.files.items()):
            yield file, replace(self, files={path: file})

    def only_file(self, name: str) -> FileRow:
        """The one file that this is of; raises ExportError where there are several."""
        if len(self.files) != 1:
            raise ExportError(
                f"Could not write one list as {name} of {len(self.files)} files.", "Name a folder as the output."
            )
        return next(iter(self.files.values()))


def stem_of(path: str) -> str:
    """The name of a file without its folder and its last suffix."""
    return Path(path).stem


def plain_name(name: str, forbidden: str, list_format: str) -> str:
    """The name itself; raises ExportError where the format cannot carry it.

    forbidden: characters that separate fields in this format, beside line breaks and other control characters.
    """
    if not name.isprintable() or not name or any(character in forbidden for character in name):
        shown = " ".join({" ": "space", "\t": "tab"}.get(character, character) for character in forbidden)
        raise ExportError(
            f"Could not list {name!a} as {list_format}: the format cannot carry a name with {shown}, a line "
            "break or another control character.",
            "Link the file under another name, watch it there, and export again; or export as csv.",
        )
    return name


@dataclass(frozen=True, slots=True)
class CandidatePoint:
    """A candidate: x, y in pixels, z the slice of a volume or None on an image, and whether it is selected."""

    file: FileRow
    index: int
    x: float
    y: float
    z: int | None
    score: float
    selected: bool


def is_volume(file: FileRow) -> bool:
    """Whether the frames of a file are slices of one volume: there are several, and it is no stack of images."""
    return file.frames > 1 and not file.path.lower().endswith(_STACK)


def points_of(content: ListContent, *, flip_tiff: bool) -> list[CandidatePoint]:
    """The selected candidates, image by image, best first.

    flip_tiff: count the rows of a TIFF file from its last one, as programs do that put y = 0 at the bottom. `selected`
    says of each whether it is accepted, or scores at least the threshold and is not rejected.
    """
    return sorted(
        (_point(content, row, flip_tiff) for row in content.rows if row.frame.key.point),
        key=lambda point: (point.file.path, point.index, -point.score, point.y, point.x),
    )


def require_images(points: Iterable[CandidatePoint], list_format: str, instead: str) -> None:
    """Raise ExportError where a candidate lies in a volume or on one image of a stack."""
    for point in points:
        if point.z is not None or point.file.frames > 1:
            raise ExportError(
                f"Could not list candidates of {point.file.path} as {list_format}: it holds {point.file.frames} "
                "slices, and the format knows one image a file.",
                f"Export as {instead}, which have a third coordinate.",
            )


def pixel_angstrom(file: FileRow) -> float | None:
    """The pixel's size in ångström, None where it is not known."""
    return file.geometry.pixel_size / ANGSTROM_M if file.geometry.pixel_size else None


def _point(content: ListContent, row: ExportRow, flip_tiff: bool) -> CandidatePoint:
    frame, file = row.frame, content.files[row.frame.key.file]
    column, line = frame.key.point or (0, 0)
    flipped = flip_tiff and file.path.lower().endswith(_TIFF)
    return CandidatePoint(
        file,
        frame.key.index,
        float(column),
        float(file.height - 1 - line if flipped else line),
        frame.key.index if is_volume(file) else None,
        frame.score or 0.0,
        content.selection.chooses(frame, row.label),
    )
