"""Pictures as terminals take them: sixel, the kitty protocol, and what the terminal says that it can."""

from __future__ import annotations

from typing import Literal

Images = Literal["half", "sixel", "kitty", "off"]
"""How frames are drawn: half-blocks, one of two bitmap protocols, or not at all."""
