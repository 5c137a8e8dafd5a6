"""Sessions as previous versions left them: recipe, journals and trainings as files, results.db as SQL text."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from photon_triage.core.session.session import Session

RECORDED = Path(__file__).with_name("recorded")
VERSIONS = tuple(sorted(int(folder.name.removeprefix("version_")) for folder in RECORDED.iterdir()))
"""Versions of the tables of which sessions were recorded."""
FOLDER = "/data/r0001"
DATASET = "/entry_1/data_1/data"


def recorded_session(folder: Path, version: int, name: str) -> Session:
    """A copy of a recorded session, `frames` or `candidates`, in a folder."""
    shutil.copytree(RECORDED / f"version_{version}" / name, folder, ignore=shutil.ignore_patterns("results.sql"))
    statements = (RECORDED / f"version_{version}" / name / "results.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(folder / "results.db")) as db:
        db.executescript(statements)
    return Session.open(folder)
