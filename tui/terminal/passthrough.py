"""Sequences for the terminal outside of tmux or screen, and the clipboard sequence (OSC 52)."""

from __future__ import annotations

import base64

from photon_triage.tui.terminal.terminal import Multiplexer

ESC = "\x1b"
SCREEN_LIMIT = 700
"""GNU screen drops a device control string longer than 768 bytes; a longer sequence goes in parts."""


def passed_through(sequence: str, multiplexer: Multiplexer) -> str:
    """A sequence as the terminal outside gets it. tmux needs its option allow-passthrough for this."""
    if multiplexer == "tmux":
        return f"{ESC}Ptmux;{sequence.replace(ESC, ESC + ESC)}{ESC}\\"
    if multiplexer == "screen":
        parts = [sequence[start : start + SCREEN_LIMIT] for start in range(0, len(sequence), SCREEN_LIMIT)]
        return "".join(f"{ESC}P{part}{ESC}\\" for part in parts)
    return sequence


def clipboard(text: str, multiplexer: Multiplexer) -> str:
    """OSC 52: put a text on the clipboard of the terminal, wherever it runs (xterm control sequences).

    tmux takes it itself where set-clipboard is on; it is sent to the terminal outside too, which tmux lets happen or
    not.
    """
    sequence = f"{ESC}]52;c;{base64.b64encode(text.encode()).decode('ascii')}\a"
    if multiplexer == "tmux":
        return sequence + passed_through(sequence, "tmux")
    return passed_through(sequence, multiplexer)
