"""What the panes share: a frame with a title, filled with plain content."""

from __future__ import annotations

from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static

BLOCKS = "▁▂▃▄▅▆▇█"


class Line(Static):
    """Plain content of a fixed size: painted only when it changed, and never laid out again for it."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(Content(""), id=id, markup=False)
        self._put = Content("")

    def put(self, content: Content) -> None:
        """Show content."""
        if not content.is_same(self._put):
            self._put = content
            self.update(content, layout=False)


class Pane(Line):
    """A framed pane; titles and text are content, never markup."""

    help_text = ""
    """What the help screen says while the pane has the focus."""

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.border_title = Content(title)

    def set_title(self, title: str) -> None:
        """Say something in the upper frame."""
        entitle(self, title=title)

    def set_subtitle(self, title: str) -> None:
        """Say something in the lower frame."""
        entitle(self, subtitle=title)


def entitle(widget: Widget, *, title: str | None = None, subtitle: str | None = None) -> None:
    """Say something in a widget's upper or lower frame; only that line of it is painted again.

    Textual paints the whole widget again where its `border_title` is set.
    """
    left, top = widget.content_offset
    width, height = widget.outer_size
    for name, text, y in (("_border_title", title, 0), ("_border_subtitle", subtitle, height - 1)):
        if text is not None and getattr(widget, name) != (content := Content(text.split("\n")[0])):
            setattr(widget, name, content)
            widget.refresh(Region(-left, y - top, width, 1))


def sparkline(values: list[float], width: int) -> str:
    """The last `width` values as blocks from 0 to their largest."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[min(int(value / top * 7.999), 7)] for value in shown)


def bars(values: list[float], height: int, top: float) -> list[str]:
    """The values as columns of blocks, one text per row, highest row first."""
    rows = []
    for row in reversed(range(height)):
        line = ""
        for value in values:
            eighths = round(min(value / top, 1.0) * height * 8) - row * 8 if top > 0 else 0
            if row == 0 and value > 0:
                eighths = max(eighths, 1)
            line += " " if eighths <= 0 else BLOCKS[min(eighths, 8) - 1]
        rows.append(line)
    return rows
