"""What a list is written from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.selection import Selection
from photon_triage.core.export.table import TableRow
from photon_triage.core.recipe import Recipe
from photon_triage.core.session.store.reader import ResultsReader
from photon_triage.core.session.store.rows import FileRow

SIMULATED = "Simulated data: these frames come from a simulation, not from an experiment."


@dataclass(frozen=True, slots=True)
class Options:
    """How some formats are written.

    copy: the frames themselves instead of a virtual data set. box_size: pixels a side of the box about a candidate;
    left open, the recipe's min_distance.
    """

    copy: bool = False
    box_size: int | None = None


@dataclass(frozen=True)
class Content:
    """What a list is written from.

    rows: what is selected, by path, data set and index. every: all that was read, in the same order. files: the ledger
    by path, for the files that have such rows. results: open for as long as the list is written.
    """

    rows: tuple[TableRow, ...]
    every: tuple[TableRow, ...]
    files: Mapping[str, FileRow]
    selection: Selection
    recipe: Recipe
    results: ResultsReader
    options: Options = Options()

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

    def by_file(self) -> Iterator[tuple[FileRow, Content]]:
        """The content of each file, in the order of their paths."""
        rows, every = _by_file(self.rows), _by_file(self.every)
        for path, file in sorted(self.files.items()):
            yield (
                file,
                replace(self, rows=rows.get(path, ()), every=every.get(path, ()), files={path: file}),
            )

    def only_file(self, name: str) -> FileRow:
        """The one file that this is of; raises ExportError where there are several."""
        if len(self.files) != 1:
            raise ExportError(
                f"Could not write one list as {name} of {len(self.files)} files.", "Name a folder as the output."
            )
        return next(iter(self.files.values()))


def _by_file(rows: Iterable[TableRow]) -> dict[str, tuple[TableRow, ...]]:
    return {path: tuple(some) for path, some in groupby(rows, key=lambda row: row.frame.key.file)}


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
