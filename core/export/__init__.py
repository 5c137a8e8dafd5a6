"""Lists out: the selected frames, in the form that the next program in the chain reads."""

from __future__ import annotations

from photon_triage.core.export.export import FORMATS, Exported, export
from photon_triage.core.export.selection import SELECTS

__all__ = ["FORMATS", "SELECTS", "Exported", "export"]
