"""CSV tables: the selected frames with their scores, measures and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from photon_triage.core.cells import csv_lines
from photon_triage.core.session.label_files import iso_time
from photon_triage.core.session.labels import Label
from photon_triage.core.session.rows import FrameRow

COLUMNS = ("path", "dataset", "index", "run", "score", "verdict", "class", "who", "time")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A frame, its label if it has one, and whether its file is simulated."""

    frame: FrameRow
    label: Label | None
    simulated: bool


def table_lines(rows: Iterable[TableRow], measures: Sequence[str]) -> Iterator[bytes]:
    """The lines of the table: COLUMNS, then the measures by name, then `simulated`.

    Truths are 1 and 0, what is unknown is empty, times are ISO 8601 in UTC. Cells that a spreadsheet would run are
    quoted.
    """
    yield from csv_lines([(*COLUMNS, *measures, "simulated")])
    yield from csv_lines(_cells(row, measures) for row in rows)


def _cells(row: TableRow, measures: Sequence[str]) -> list[str]:
    frame, label = row.frame, row.label
    verdict = ("", "", "", "") if label is None else (label.verdict, label.category, label.who, iso_time(label.time))
    return [
        frame.key.file,
        frame.key.dataset,
        str(frame.key.index),
        frame.run,
        _number(frame.score),
        *verdict,
        *(_number(frame.measures.get(name)) for name in measures),
        str(int(row.simulated)),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
