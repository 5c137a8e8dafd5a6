"""The operator's own keys: a TOML file of binding ids over the built-in ones."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

import platformdirs


def keymap_path() -> Path:
    """Where the keymap is looked for."""
    return platformdirs.user_config_path("photon-triage") / "keymap.toml"


def load_keymap(path: Path, known: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The keys by binding id, and what is wrong with the file; a missing file is an empty keymap.

    The file holds one table: `[keys]` with lines such as `accept = "a,plus"`.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"Could not read the keymap {path}: {error}."]
    keys = table.get("keys", {})
    if not isinstance(keys, dict):
        return {}, [f"Could not use the keymap {path}: expected a table [keys]."]
    ids = set(known)
    complaints = [f"Keymap {path}: there is no binding {name!r}." for name in keys if name not in ids]
    complaints += [
        f"Keymap {path}: expected a text for {name!r}. Got {value!r} instead."
        for name, value in keys.items()
        if name in ids and not (isinstance(value, str) and value)
    ]
    return {name: value for name, value in keys.items() if name in ids and isinstance(value, str) and value}, complaints
