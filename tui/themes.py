"""The colours of the screen: dim for a dark hutch, light for an office, strong for tired eyes and beamers.

What is good and what is bad differ in blue and orange, never in green and red alone, and always in a letter or a sign
too.
"""

from __future__ import annotations

from textual.theme import Theme

from photon_triage.tui.terminal.terminal import THEMES

DEFAULT_THEME, PLAIN_THEME = THEMES[0], THEMES[-1]
"""The last is for terminals of 16 colours: the terminal's own, which its owner has chosen to be told apart."""

_DARK_HUTCH = Theme(
    name=DEFAULT_THEME,
    primary="#8a6a4a",
    secondary="#6f6a60",
    accent="#c28f4e",
    warning="#b98a3c",
    error="#9c4a2f",
    success="#6f9fb0",
    foreground="#b3a692",
    background="#100d0b",
    surface="#191512",
    panel="#221c17",
    dark=True,
    variables={"block-cursor-background": "#4a3a28", "block-cursor-foreground": "#e0d3bd", "text-muted": "#82776a"},
)
_DAYLIGHT = Theme(
    name="daylight",
    primary="#1f5f8b",
    secondary="#55606a",
    accent="#8a4b08",
    warning="#8a5a00",
    error="#b03a10",
    success="#14608a",
    foreground="#1c1f22",
    background="#fafaf7",
    surface="#f0f0ec",
    panel="#e3e3dd",
    dark=False,
)
_HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#ffffff",
    secondary="#ffffff",
    accent="#ffd400",
    warning="#ffd400",
    error="#ff8000",
    success="#5fd7ff",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#303030",
    dark=True,
    variables={"block-cursor-background": "#ffd400", "block-cursor-foreground": "#000000", "text-muted": "#ffffff"},
)
_PLAIN = Theme(
    name=PLAIN_THEME,
    primary="ansi_blue",
    secondary="ansi_cyan",
    # Of the six, magenta can be read on black and on white.
    accent="ansi_magenta",
    warning="ansi_magenta",
    error="ansi_red",
    success="ansi_blue",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    ansi=True,
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_white",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
    },
)
ALL_THEMES = (_DARK_HUTCH, _DAYLIGHT, _HIGH_CONTRAST, _PLAIN)
"""As `display.THEMES` names them."""
MEANINGS = {
    DEFAULT_THEME: "dim and warm, nothing bright",
    "daylight": "dark on light",
    "high-contrast": "white and yellow on black",
    PLAIN_THEME: "the terminal's own 16 colours",
}
