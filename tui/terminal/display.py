"""How the screen looks: what the command line and the user's config file say of it, and the options for that."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

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
