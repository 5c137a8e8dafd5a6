"""Selections from elsewhere: read, matched with a session's frames, held against its labels and against each other."""

from __future__ import annotations

from photon_triage.core.compare.lists import ComparisonTable, LoadedList, compare, load_list
from photon_triage.core.compare.selected_frames import KnownFrames

__all__ = ["ComparisonTable", "KnownFrames", "LoadedList", "compare", "load_list"]
