from __future__ import annotations

from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from photon_triage.tui.terminal.repaint import Painted, Together

CONSOLE = Console(color_system="truecolor", force_terminal=True)


def strip(text: str, style: Style | None = None) -> Strip:
    return Strip([Segment(text, style or Style())])


def whole(*lines: str) -> LayoutUpdate:
    return LayoutUpdate([[strip(line)] for line in lines], Region(0, 0, len(lines[0]), len(lines)))


def part(y: int, x: int, text: str) -> ChopsUpdate:
    chops = [{x: strip(text)} if place == y else {} for place in range(y + 1)]
    return ChopsUpdate(chops, [(y, x, x + len(text))], [[x + len(text)] for _ in chops])


def sent(painted: Painted, update: LayoutUpdate | ChopsUpdate | Together) -> list[tuple[int, int, str]]:
    return [(x, y, piece.text) for x, y, piece in painted.difference(update).pieces]


def test_only_the_cells_that_differ_are_sent() -> None:
    painted = Painted()
    assert sent(painted, whole("rate 100 Hz", "lag 0.3 s  ")) == [(0, 0, "rate 100 Hz"), (0, 1, "lag 0.3 s  ")]
    assert sent(painted, whole("rate 107 Hz", "lag 0.3 s  ")) == [(7, 0, "7")]
    assert sent(painted, whole("rate 107 Hz", "lag 0.3 s  ")) == []


def test_changes_far_apart_are_sent_apart() -> None:
    painted = Painted()
    sent(painted, whole("a" + "." * 30 + "b"))
    assert sent(painted, whole("A" + "." * 30 + "B")) == [(0, 0, "A"), (31, 0, "B")]


def test_another_colour_is_a_change() -> None:
    painted = Painted()
    sent(painted, whole("abc"))
    red = LayoutUpdate([[strip("abc", Style(color="red"))]], Region(0, 0, 3, 1))
    assert sent(painted, red) == [(0, 0, "abc")]


def test_a_part_of_another_width_takes_the_place_of_what_it_covers() -> None:
    painted = Painted()
    sent(painted, whole("abcdef"))
    assert sent(painted, part(0, 2, "xy")) == [(2, 0, "xy")]
    assert sent(painted, whole("abcdef")) == [(0, 0, "abcdef")], "nothing is known of that line any more"


def test_another_size_and_forgetting_send_everything() -> None:
    painted = Painted()
    sent(painted, whole("abc"))
    assert sent(painted, whole("abc", "def")) == [(0, 0, "abc"), (0, 1, "def")]
    painted.forget()
    assert len(sent(painted, whole("abc", "def"))) == 2


def test_of_several_updates_the_last_word_counts() -> None:
    painted = Painted()
    sent(painted, whole("one"))
    assert sent(painted, Together([part(0, 0, "two"), part(0, 0, "six")])) == [(0, 0, "six")]


def test_a_wide_character_is_sent_with_its_whole_strip() -> None:
    painted = Painted()
    sent(painted, whole("漢ab"))
    assert sent(painted, LayoutUpdate([[strip("漢xb")]], Region(0, 0, 3, 1)))[-1][2].endswith("xb")
