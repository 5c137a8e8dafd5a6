from __future__ import annotations

from typing import Any

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from photon_triage.tui.terminal.repaint import NarrowCompositor
from photon_triage.tui.widgets.pane import entitle


class Counted(Static):
    """Says which lines it was asked for."""

    DEFAULT_CSS = "Counted { border: solid white; width: 1fr; height: 6; }"

    def __init__(self, id: str) -> None:
        super().__init__("", id=id)
        self.asked: list[range] = []

    def render_lines(self, crop: Region) -> list[Strip]:
        self.asked.append(range(*crop.line_span))
        return super().render_lines(crop)


class Front(Screen[None]):
    CSS = """
    Screen { layers: below above; }
    #over { layer: above; width: 4; height: 2; offset: 3 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._compositor = NarrowCompositor()

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Counted("left")
            yield Counted("right")
        yield Static("OVER", id="over")


class Watched(App[None]):
    def on_mount(self) -> None:
        self.push_screen(Front())


def painted(screen: Screen[Any], before: list[str]) -> list[str]:
    """The screen's lines after a partial update over those that stood there."""
    lines = list(before)
    update = screen._compositor.render_partial_update()
    for y, left, right in update.spans if update else ():
        for x, piece in update.chops[y].items() if update else ():
            if piece is not None and x < right and x + piece.cell_length > left:
                lines[y] = lines[y][:x] + piece.text + lines[y][x + piece.cell_length :]
    return lines


def whole(screen: Screen[Any]) -> list[str]:
    return [strip.text for strip in screen._compositor.render_strips()]


async def changed(app: App[None], *changes: tuple[str, str]) -> tuple[list[str], list[str]]:
    """The lines after that a partial update paints, and those that the whole screen has."""
    screen = app.screen
    before = whole(screen)
    with app.batch_update():
        widgets: set[Widget] = set()
        for name, text in changes:
            widget = screen.query_one(f"#{name}", Static)
            widget.update(text, layout=False)
            widgets.add(widget)
        for widget in screen.query(Counted):
            widget.asked.clear()
        screen._compositor.update_widgets(widgets)
        return painted(screen, before), whole(screen)


async def test_a_partial_update_paints_what_the_whole_screen_would() -> None:
    async with Watched().run_test(size=(30, 12)) as pilot:
        for changes in (
            (("left", "one\ntwo"),),
            (("right", "a"), ("over", "NEW")),
            (("left", "x\ny\nz"), ("over", "?")),
        ):
            part, full = await changed(pilot.app, *changes)
            assert part == full


async def test_a_widget_in_which_nothing_changed_is_not_rendered() -> None:
    async with Watched().run_test(size=(30, 12)) as pilot:
        screen = pilot.app.screen
        with pilot.app.batch_update():
            right = screen.query_one("#right", Counted)
            right.update("new", layout=False)
            left = screen.query_one("#left", Counted)
            left.asked.clear()
            screen._compositor.update_widgets({right})
            assert screen._compositor.render_partial_update() is not None
        assert left.asked == []


async def test_a_title_has_only_its_line_rendered() -> None:
    async with Watched().run_test(size=(30, 12)) as pilot:
        screen = pilot.app.screen
        with pilot.app.batch_update():
            left = screen.query_one("#left", Counted)
            before = whole(screen)
            left.asked.clear()
            entitle(left, title="rows")
            screen._compositor.update_widgets({left})
            after = painted(screen, before)
            assert left.asked == [range(1)]
            assert after == whole(screen)
        assert "rows" in after[0]


async def test_the_same_title_again_changes_nothing() -> None:
    async with Watched().run_test(size=(30, 12)) as pilot:
        screen = pilot.app.screen
        with pilot.app.batch_update():
            left = screen.query_one("#left", Counted)
            entitle(left, title="rows", subtitle="of all")
            screen._compositor.update_widgets({left})
            screen._compositor.render_partial_update()
            entitle(left, title="rows", subtitle="of all")
            screen._compositor.update_widgets({left})
            assert screen._compositor.render_partial_update() is None
