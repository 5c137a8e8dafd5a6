from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """A file or folder of the real data, skipping the test where there is none."""
    root = Path(os.environ.get("PHOTON_TRIAGE_DATA") or Path(__file__).resolve().parents[1].parent / "shared" / "data")
    path = root / name
    if not path.exists():
        pytest.skip(f"no real data at {path}: set PHOTON_TRIAGE_DATA to their folder")
    return path
