"""Lists out: what is selected, in the form that the next program in the chain reads."""

from __future__ import annotations

from photon_triage.core.export.content import SELECTS
from photon_triage.core.export.export import Exported, export
from photon_triage.core.export.formats import FORMATS, fitting

__all__ = ["FORMATS", "SELECTS", "Exported", "export", "fitting"]
