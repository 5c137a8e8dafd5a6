"""What is known of the terminal without asking it: its environment, colours, size, and what stands between."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Multiplexer = Literal["", "tmux", "screen"]
Colours = Literal["none", "16", "256", "true"]

_COLOURS: dict[str | None, Colours] = {None: "none", "standard": "16", "256": "256", "truecolor": "true"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal as its environment describes it. multiplexer: the program that this one's output goes through."""

    name: str
    colours: Colours
    multiplexer: Multiplexer
    encoding: str
    width: int
    height: int
    over_ssh: bool

    @property
    def is_utf8(self) -> bool:
        """Whether blocks and lines can be written to it."""
        return self.encoding.lower().replace("-", "") == "utf8"


def multiplexer_of(environment: Mapping[str, str]) -> Multiplexer:
    """tmux or screen, where one of them runs this program; of both, the inner one is told by TERM."""
    name = environment.get("TERM", "")
    if environment.get("TMUX"):
        inner_screen = bool(environment.get("STY")) and name.startswith("screen") and "tmux" not in name
        return "screen" if inner_screen and environment.get("TERM_PROGRAM") != "tmux" else "tmux"
    return "screen" if environment.get("STY") else ""


def colours_of(environment: Mapping[str, str]) -> Colours:
    """How many colours are used, by the rules of the library that draws; NO_COLOR turns all of them off."""
    if "NO_COLOR" in environment:
        return "none"
    from rich.console import Console

    return _COLOURS.get(Console(force_terminal=True, _environ=environment).color_system, "16")


def this_terminal(environment: Mapping[str, str] | None = None) -> Terminal:
    """The terminal of this process."""
    known = os.environ if environment is None else environment
    size = shutil.get_terminal_size()
    return Terminal(
        known.get("TERM", ""),
        colours_of(known),
        multiplexer_of(known),
        sys.stdout.encoding or "unknown",
        size.columns,
        size.lines,
        bool(known.get("SSH_CONNECTION") or known.get("SSH_TTY")),
    )


def tmux_option(name: str) -> str:
    """An option of the tmux that this program runs in; empty where it cannot be asked."""
    try:
        done = subprocess.run(["tmux", "show", "-Apv", name], capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
