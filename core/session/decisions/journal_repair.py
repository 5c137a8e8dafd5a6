"""Lines of journals that cannot be believed: found, kept in a file beside the journals, and blanked where they stand.

A journal is never written anew: a screen may be appending to it. A line is overwritten with blanks of the same length,
which readers pass over, so that nothing else in the file moves.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.common.containment import LARGEST_TABLE, open_regular, read_bytes, regular_files
from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions.journal import Record, parse_line


@dataclass(frozen=True, slots=True)
class Blanked:
    """What was blanked: lines, those in journals of others that this account may not write, and the file of them."""

    lines: int
    not_writable: int
    set_aside: Path | None


def blank_damaged(folder: Path, malformed: Collection[Record]) -> Blanked:
    """Blank the damaged lines of all journals in a folder, and those of records that say nothing that can be right.

    Raises SessionError where what was blanked cannot be kept; then nothing is changed.
    """
    wrong = {(record.journal, record.sequence) for record in malformed}
    try:
        journals = regular_files(folder, folder.parent, suffix=".jsonl")
        found = [(path, at, line) for path in journals for at, line in _damaged(path, wrong)]
    except OSError as error:
        raise SessionError(
            f"Could not read the journals in {folder}: {error.strerror or error}.",
            "Make them readable for everybody who works on the session.",
        ) from error
    writable = [each for each in found if os.access(each[0], os.W_OK)]
    if not writable:
        return Blanked(0, len(found), None)
    aside = folder.parent / f"journal-damaged-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    try:
        with aside.open("xb") as kept:
            kept.writelines(os.fsencode(path.name) + b" " + line + b"\n" for path, _, line in writable)
            kept.flush()
            os.fsync(kept.fileno())
        for path, at, line in writable:
            journal = open_regular(path, folder.parent, os.O_WRONLY)
            try:
                os.pwrite(journal, b" " * len(line), at)
                os.fsync(journal)
            finally:
                os.close(journal)
    except OSError as error:
        raise SessionError(
            f"Could not repair the journals in {folder}: {error.strerror or error}.", "Free space on that disk."
        ) from error
    return Blanked(len(writable), len(found) - len(writable), aside)


def _damaged(path: Path, wrong: Collection[tuple[str, int]]) -> Iterator[tuple[int, bytes]]:
    """Place and bytes of each line that ends and cannot be believed; one without an end may still be written."""
    content, at = read_bytes(path, path.parent.parent, LARGEST_TABLE), 0
    for whole in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
        line = whole.rstrip(b"\r\n")
        if line.strip():
            record = parse_line(path.name, line)
            if record is None or (record.journal, record.sequence) in wrong:
                yield at, line
        at += len(whole)
