"""Lists out: what is selected, in the form that the next program in the chain reads."""

from __future__ import annotations

from photon_triage.core.export.export import Exported, export
from photon_triage.core.export.formats import FORMATS, fitting
from photon_triage.core.export.list_content import SELECTS

__all__ = ["FORMATS", "SELECTS", "Exported", "export", "fitting"]
