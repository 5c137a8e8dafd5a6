"""Textual's private interface: what tui/terminal relies on is there, and nothing else of the screens uses any of it."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widget import Widget

TUI = Path(__file__).parents[3] / "tui"
CLASSES: tuple[type, ...] = (App, Screen, Widget, Compositor, CompositorUpdate, Driver, LinuxDriver, Timer, Strip)
METHODS: list[tuple[Callable[..., Any], list[str]]] = [
    (Compositor._regions_to_spans, ["regions"]),
    (Compositor.render_partial_update, ["self"]),
    (Screen._on_timer_update, ["self"]),
    (Timer._start, ["self"]),
    (Timer._run, ["self"]),
    (Timer._tick, ["self", "next_timer", "count"]),
    (App._display, ["self", "screen", "renderable"]),
    (ChopsUpdate.__init__, ["self", "chops", "spans", "chop_ends"]),
    (LayoutUpdate.__init__, ["self", "strips", "region"]),
    (LinuxDriver.run_input_thread, ["self"]),
    (LinuxDriver.start_application_mode, ["self"]),
]
"""Methods that are overridden or called, and their parameters."""
ATTRIBUTES: list[tuple[type, str, str]] = [
    (Compositor, "_dirty_regions", "set"),
    (Screen, "_compositor", "Compositor()"),
    (Screen, "_update_timer", "property"),
    (Screen, "_timers", "WeakSet"),
    (Timer, "_active", "cached_property"),
    (App, "_driver", "None"),
    (App, "_batch_count", "0"),
    (App, "_clipboard", '""'),
    (App, "_previous_cursor_position", "Offset(0, 0)"),
    (App, "_running", "False"),
    (App, "_closed", "False"),
    (Driver, "_app", "app"),
    (Driver, "_loop", "asyncio.get_running_loop()"),
    (LinuxDriver, "_file", "sys.__stderr__"),
    (LinuxDriver, "_writer_thread", "None"),
    (Strip, "_segments", "list(segments)"),
    (Strip, "_render_cache", "None"),
]
"""Attributes that are read or set, and what Textual sets them to."""


@pytest.mark.parametrize(("method", "parameters"), METHODS, ids=lambda value: getattr(value, "__qualname__", ""))
def test_methods_take_what_they_are_given(method: Callable[..., Any], parameters: list[str]) -> None:
    assert list(inspect.signature(method).parameters) == parameters


@pytest.mark.parametrize(("owner", "name", "value"), ATTRIBUTES, ids=[name for _, name, _ in ATTRIBUTES])
def test_attributes_are_what_they_were(owner: type, name: str, value: str) -> None:
    if value.endswith("property"):
        assert type(inspect.getattr_static(owner, name)).__name__ == value
        return
    sources = [inspect.getsource(base) for base in owner.__mro__ if base.__module__.startswith("textual")]
    set_to = [found for source in sources for found in re.findall(rf"self\.{name}(?:: [^=]+)? = (.+)", source)]
    assert any(value in each for each in set_to), set_to


def test_the_writer_has_a_queue_of_texts() -> None:
    from textual.drivers._writer_thread import WriterThread

    source = inspect.getsource(WriterThread)
    assert "self._queue: Queue[str | None]" in source
    assert "def write(self, text: str)" in source


def test_all_that_is_used_is_in_the_tables() -> None:
    known = {name for _, name, _ in ATTRIBUTES} | {method.__name__ for method, _ in METHODS}
    used = {name for path in (TUI / "terminal").rglob("*.py") for name in private_names(path)}
    assert used <= known | {"_queue"}


def test_nothing_else_of_the_screens_uses_it() -> None:
    others = [path for path in TUI.rglob("*.py") if "terminal" not in path.relative_to(TUI).parts]
    assert others
    found = {str(path.relative_to(TUI)): names for path in others if (names := sorted(private_names(path)))}
    assert not found
    imports = [path for path in others if re.search(r"^\s*(from|import) textual\.(\w+\.)*_", path.read_text(), re.M)]
    assert not imports


def private_names(path: Path) -> Iterator[str]:
    """Names of Textual's own that a module reads, sets or overrides, but for those that the module defines itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stored = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE and ast.unparse(node.value) != "os":
            its_own = isinstance(node.value, ast.Name) and node.value.id == "self" and node.attr in stored
            if not its_own or "terminal" in path.parts:
                yield node.attr
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            yield from (each.name for each in methods if each.name in PRIVATE and is_a_widget(node))


def is_a_widget(node: ast.ClassDef) -> bool:
    """Whether a class is derived from one of Textual's, or of the project's that are."""
    bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
    return bool(bases & {"App", "LineApp", "Screen", "ModalScreen", "PromptScreen", "Widget", "Static", "Line", "Pane"})


def _private_names() -> frozenset[str]:
    names: set[str] = set()
    for owner in CLASSES:
        names |= {name for name in dir(owner) if name.startswith("_") and not name.startswith("__")}
        for base in owner.__mro__:
            if base.__module__.startswith("textual"):
                names |= set(re.findall(r"self\.(_[a-z]\w*)", inspect.getsource(base)))
    return frozenset(names)


PRIVATE = _private_names()
