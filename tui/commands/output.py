"""What a command says on stdout: safe lines for people, JSON for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from photon_triage.tui.terminal.text import cells, safe_text


def say(line: str = "") -> None:
    """Print one line; what could steer a terminal in it is shown as an escape."""
    typer.echo(safe_text(line))


def say_json(value: Any) -> None:
    """Print JSON in ASCII: any file name comes back out of it as it was."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=True))


def say_table(rows: Iterable[Sequence[str]], indent: str = "") -> None:
    """Print rows with their columns flush left, two spaces apart."""
    safe = [[safe_text(text) for text in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*safe, strict=True)]
    for row in safe:
        padded = (text + " " * (width - cells(text)) for text, width in zip(row, widths, strict=True))
        say((indent + "  ".join(padded)).rstrip())


@contextmanager
def progress_bar(what: str, total: int | None, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr; call what it gives with how far the work is and, if it changed, `total` and `note`."""
    if quiet:
        yield lambda done, total=None, note="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(safe_text(what), total=total, note="")

        def advance(done: int, total: int | None = total, note: str = "") -> None:
            progress.update(task, completed=done, total=total, note=safe_text(note))

        yield advance
