"""CSV tables: the selected frames with their scores, measures and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from photon_triage.core.common.text_safety import csv_lines
from photon_triage.core.export.list_content import ExportRow, ListContent, write_lines
from photon_triage.core.session.decisions.label_files import iso_time
from photon_triage.core.session.store.frames import EVERY_FRAME, ROWS_AT_ONCE

COLUMNS = ("path", "dataset", "index", "run", "score", "verdict", "class", "who", "time")
TYPES = {"index": "int64", "score": "double", "time": "timestamp[us, tz=UTC]", "simulated": "bool"}
"""Of the typed table's columns, as Arrow calls them; the other COLUMNS are strings, measures are double."""


def write(content: ListContent, path: Path) -> dict[str, Any]:
    """The table: COLUMNS, then the measures by name, then `simulated` as 1 or 0."""
    if content.selection.filter == EVERY_FRAME:
        measures = _measures(content)
    else:
        measures = sorted({name for row in content.rows for name in row.frame.measures})
    write_lines(path, table_lines(content.rows, measures))
    return {}


def write_typed(content: ListContent, path: Path) -> dict[str, Any]:
    """The same table for Parquet and other typed readers: the .json beside it has every column's type.

    Truths are true and false. The measures are those of all frames that were read, so that parts of one run have the
    same columns whatever is selected.
    """
    measures = _measures(content)
    write_lines(path, table_lines(content.rows, measures, truths=("false", "true")))
    types = {name: TYPES.get(name, "string") for name in COLUMNS}
    return {"columns": types | dict.fromkeys(measures, "double") | {"simulated": TYPES["simulated"]}}


def table_lines(
    rows: Iterable[ExportRow], measures: Sequence[str], truths: tuple[str, str] = ("0", "1")
) -> Iterator[bytes]:
    """The lines of the table: COLUMNS, then the measures by name, then `simulated`.

    What is unknown is empty, times are ISO 8601 in UTC. Cells that a spreadsheet would run are quoted.
    """
    yield from csv_lines([(*COLUMNS, *measures, "simulated")])
    waiting = iter(rows)
    while some := list(islice(waiting, ROWS_AT_ONCE)):
        yield from csv_lines([_cells(row, measures, truths) for row in some])


def _measures(content: ListContent) -> list[str]:
    return content.results.frames(content.recipe.unit).measure_names()


def _cells(row: ExportRow, measures: Sequence[str], truths: tuple[str, str]) -> list[str]:
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
        truths[row.simulated],
    ]


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))
