"""Facts about the terminal from its environment: colours, size, multiplexers, clipboard; and the settings for it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import platformdirs
import typer

from photon_triage.core.common.errors import UsageError

Images = Literal["half", "sixel", "kitty", "off"]
"""How frames are drawn: half-blocks, one of two bitmap protocols, or not at all."""
IMAGES: tuple[Images, ...] = ("half", "sixel", "kitty", "off")
THEMES = ("dark-hutch", "daylight", "high-contrast", "ansi-16")
"""The names of the themes, the default first."""

ImagesOption = Annotated[
    Images | None,
    typer.Option(help="How frames are drawn: half-blocks, sixel, kitty's protocol, or not at all; half, if not given."),
]
ThemeOption = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"Colours: {', '.join(THEMES)}; {THEMES[0]}, if not given.")
]
Multiplexer = Literal["", "tmux", "screen"]
Colours = Literal["none", "16", "256", "true"]
UTF8_ADVICE = "Set LANG=C.UTF-8, and start tmux as `tmux -u`: lines and blocks are not ASCII."
_COLOURS: dict[str | None, Colours] = {None: "none", "standard": "16", "256": "256", "truecolor": "true"}
ESC = "\x1b"
SCREEN_LIMIT = 700
"""GNU screen drops a device control string longer than 768 bytes; a longer sequence goes in parts."""


@dataclass(frozen=True, slots=True)
class Display:
    """How frames are drawn, and the theme; None for the one that fits the terminal."""

    images: Images = "half"
    theme: str | None = None


def config_path() -> Path:
    """Where the user's settings are looked for."""
    return platformdirs.user_config_path("photon-triage") / "config.toml"


def chosen_display(images: Images | None, theme: str | None, path: Path | None = None) -> Display:
    """What the command line says, else the config file; a missing file says nothing.

    The file holds lines such as `theme = "daylight"` and `images = "sixel"`. Raises UsageError for what is not known.
    """
    path = path or config_path()
    settings = _settings(path)
    drawn = images or settings.get("images", "half")
    named = theme or settings.get("theme")
    if drawn not in IMAGES:
        raise UsageError(f"Could not draw frames as {drawn!r} ({path}).", f"Allowed: {', '.join(IMAGES)}.")
    if named is not None and named not in THEMES:
        where = "" if theme else f" ({path})"
        raise UsageError(f"There is no theme {named!r}{where}.", f"Themes: {', '.join(THEMES)}.")
    return Display(drawn, named)


def _settings(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"Could not read the settings {path}: {error}.", "Mend the file, or move it away.") from error


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
        return _is_utf8(self.encoding)


def encoding_of(environment: Mapping[str, str], output: str | None) -> str:
    """The encoding that a terminal is said to have: by the locale's variables, else as Python writes to it.

    Python writes UTF-8 where the locale is C, POSIX or not installed, whatever the terminal can show; so the variables
    count where one of them names an encoding, or C. Where none is set, the terminal is taken for one of UTF-8.
    """
    written = output or "unknown"
    if not _is_utf8(written):
        return written
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    if sys.flags.utf8_mode and environment.get("LC_CTYPE") == "C.UTF-8":
        names.remove("LC_CTYPE")  # Python itself has put it in the place of C (PEP 538)
    locale = next((value for name in names if (value := environment.get(name))), "")
    if locale in ("C", "POSIX"):
        return "ASCII"
    return locale.partition(".")[2].partition("@")[0] or written


def screen_obstacle(terminal: Terminal, *, has_input: bool, has_output: bool) -> tuple[str, str] | None:
    """Why no screen can be opened here, and what to do about it; None where one can."""
    if not (has_input and has_output):
        return (
            f"standard {'output' if has_input else 'input'} is no terminal",
            "Run it in a terminal, without a pipe and without redirecting it.",
        )
    if terminal.name in ("", "dumb", "unknown"):
        told = f"TERM={terminal.name}" if terminal.name else "TERM is not set, which"
        return f"{told} names no terminal that can place characters", "Set it, as in: export TERM=xterm-256color"
    if not terminal.is_utf8:
        return f"this terminal's encoding is {terminal.encoding}, which has no lines and blocks", UTF8_ADVICE
    return None


def require_screen(hint: str = "") -> None:
    """Raise UsageError where no screen can be opened in this process; `hint` is what works without one."""
    obstacle = screen_obstacle(this_terminal(), has_input=_is_terminal(sys.stdin), has_output=_is_terminal(sys.stdout))
    if obstacle is not None:
        reason, advice = obstacle
        raise UsageError(f"Could not open the screen: {reason}.", f"{advice} {hint}".strip(), title="No screen here")


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("-", "") == "utf8"


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
        encoding_of(known, sys.stdout.encoding),
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
