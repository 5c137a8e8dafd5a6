"""Pictures as terminals take them: sixel, the kitty protocol, and what the terminal says that it can."""

from __future__ import annotations

from dataclasses import dataclass

from photon_triage.tui.terminal.images.query import Graphics
from photon_triage.tui.terminal.terminal import Images, Multiplexer, Terminal, tmux_option

USUAL_CELL = (20, 10)
"""Height and width in pixels of a character cell that a terminal does not tell of; kitty's pictures need no more."""


@dataclass(frozen=True, slots=True)
class PictureOutput:
    """How pictures go to this terminal. cell: (height, width) of a character cell in pixels."""

    images: Images = "half"
    cell: tuple[int, int] = USUAL_CELL
    multiplexer: Multiplexer = ""


def choose_output(wanted: Images, terminal: Terminal, graphics: Graphics) -> tuple[PictureOutput, str]:
    """How pictures go to a terminal, and why not as they were wanted; then they are half-blocks."""
    cell, between = graphics.cell or USUAL_CELL, terminal.multiplexer
    if wanted in ("half", "off"):
        return PictureOutput(wanted, cell, between), ""
    problem = _kitty_problem(terminal, graphics) if wanted == "kitty" else _sixel_problem(graphics)
    if problem:
        return PictureOutput("half", cell, between), f"--images {wanted}: {problem}; half-blocks instead"
    return PictureOutput(wanted, cell, between), ""


def _sixel_problem(graphics: Graphics) -> str:
    if not graphics.sixel:
        return "the terminal does not say that it knows sixel"
    # Sixels that are larger than their cells would cover the panes beside them.
    return "" if graphics.cell else "the terminal does not say how large its characters are"


def _kitty_problem(terminal: Terminal, graphics: Graphics) -> str:
    if terminal.colours != "true":
        return "it needs true colour (export COLORTERM=truecolor)"
    if terminal.multiplexer == "tmux":
        # The terminal's answer does not come back through tmux.
        allowed = tmux_option("allow-passthrough") in ("on", "all")
        return "" if allowed else "tmux does not let it through (set -g allow-passthrough on)"
    return "" if graphics.kitty else "the terminal does not say that it knows kitty's protocol"
