"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    state: "ok"; "note", worth knowing; "problem", which will cost frames, time or labels. advice: what to do about it.
    """

    subject: str
    state: State
    finding: str
    advice: str = ""
