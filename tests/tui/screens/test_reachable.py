"""Every action is reachable by key, palette and help; themes; the clipboard through what stands between."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.widgets import Input

from photon_triage.core.common.errors import UsageError
from photon_triage.tui.screens.help import FIRST, HelpScreen, entry_name, own_bindings
from photon_triage.tui.screens.main.screen import KEYS, SUBJECTS
from photon_triage.tui.terminal.images import PictureOutput
from photon_triage.tui.terminal.terminal import IMAGES, THEMES, chosen_display
from photon_triage.tui.themes import ALL_THEMES, DEFAULT_THEME, MEANINGS

from ..driver import SIZES, Driver, opened
from ..fake_session import FakeSession


def test_every_binding_has_an_id_of_its_own_and_says_what_it_does() -> None:
    ids = [binding.id for binding in KEYS]
    assert None not in ids and len(set(ids)) == len(ids)
    assert all(binding.tooltip and binding.description for binding in KEYS)


def test_help_knows_every_binding() -> None:
    told = [binding.id for _, bindings in SUBJECTS for binding in bindings]
    assert sorted(filter(None, told)) == sorted(binding.id for binding in KEYS if binding.id)
    assert set(FIRST) <= set(told)


async def test_the_palette_lists_every_binding_with_its_key_and_text(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        entries = {entry.title: entry.help for entry in driver.app.get_system_commands(driver.main)}
        named = {title.partition(" · ")[0]: (title, text) for title, text in entries.items()}
        waiting = {"threshold_keep", "threshold_drop"}
        for binding in KEYS:
            if binding.id == "palette":
                continue
            title, text = named[entry_name(binding)]
            assert text == binding.tooltip
            assert binding.id in waiting or " · " in title, title


@pytest.mark.parametrize("key", ["T", "P", "R", "F"])
async def test_the_footer_of_a_narrow_screen_over_the_main_one_tells_of_help_and_the_way_back(
    hits: FakeSession, key: str
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(key)
        await driver.until(lambda: driver.app.screen is not driver.main, "the screen")
        await driver.shows("Back", "? Help")


@pytest.mark.parametrize("key", ["T", "P", "R", "F"])
async def test_palette_and_help_of_a_screen_over_the_main_one_list_every_key_of_it(hits: FakeSession, key: str) -> None:
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.ready()
        await driver.press(key)
        await driver.until(lambda: driver.app.screen is not driver.main, "the screen")
        screen = driver.app.screen
        bindings = own_bindings(screen)
        assert len(bindings) > 4 and all(binding.tooltip for binding in bindings)
        entries = {entry.title.partition(" · ")[0]: entry.help for entry in driver.app.get_system_commands(screen)}
        assert all(entries[entry_name(binding)] == binding.tooltip for binding in bindings)
        await driver.shows("? Help")
        await driver.press("question_mark")
        await driver.shows(*(binding.tooltip for binding in bindings))
        await driver.press("question_mark")
        await driver.until(lambda: driver.app.screen is screen, "the screen again")


async def test_the_palette_acts_on_the_screen_it_was_opened_on(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("R")
        await driver.until(lambda: driver.app.screen is not driver.main, "the screen")
        await choose(driver, "back", "Back · R")
        await driver.until(lambda: driver.app.screen is driver.main, "the main screen")


async def choose(driver: Driver, typed: str, entry: str) -> None:
    """Open the palette, type, and take the entry once it stands first."""
    await driver.press("ctrl+p")
    await driver.until(lambda: isinstance(driver.app.screen, CommandPalette), "the palette")
    await driver.press(*typed)

    def highlighted() -> bool:
        option = driver.app.screen.query_one(CommandList).highlighted_option
        return option is not None and entry in str(option.prompt) and driver.app.screen.query_one(Input).value == typed

    await driver.until(highlighted, entry)
    await driver.press("enter")


async def test_the_palette_does_what_a_key_does(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await choose(driver, "reject", "Reject · x")
        await driver.until(lambda: 0 in driver.on_disk(), "the label")
        assert driver.on_disk()[0].verdict == "rejected"


@pytest.mark.parametrize("size", ["narrow", "medium"])
async def test_footer_and_help_tell_a_newcomer_what_matters(hits: FakeSession, size: str) -> None:
    async with opened(hits, SIZES[size]) as driver:
        await driver.ready()
        await driver.shows("a Accept", "u Undo", "? Help")
        await driver.press("question_mark")
        # The first page, without scrolling.
        await driver.shows("Accept the frame", "Take back the last decision", "Write a list", "threshold")


async def test_help_begins_with_the_pane_that_has_the_focus(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        driver.main.query_one("#preview").focus()
        await driver.press("question_mark")
        await driver.until(lambda: isinstance(driver.app.screen, HelpScreen), "the help")
        await driver.shows("in counts or grey values")


async def test_help_shows_remapped_keys(hits: FakeSession) -> None:
    async with opened(hits, keymap='[keys]\naccept = "z"\n') as driver:
        await driver.ready()
        await driver.press("question_mark")
        await driver.until(lambda: "z " in driver.text() and "Accept the frame" in driver.text())
        line = next(line for line in driver.text().splitlines() if "Accept the frame" in line)
        assert line.split("│")[1].split()[0] == "z"


def test_the_themes_are_those_that_the_command_line_names() -> None:
    assert tuple(theme.name for theme in ALL_THEMES) == THEMES
    assert set(MEANINGS) == set(THEMES)


@pytest.mark.parametrize("theme", [None, "high-contrast"])
async def test_a_theme_is_chosen(hits: FakeSession, theme: str | None) -> None:
    async with opened(hits, theme=theme) as driver:
        await driver.ready()
        assert driver.app.theme == (theme or DEFAULT_THEME)


async def test_the_palette_changes_the_theme(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await choose(driver, "daylight", "Theme daylight")
        await driver.until(lambda: driver.app.theme == "daylight", "the theme")


def test_the_command_line_goes_before_the_config_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert chosen_display(None, None, path).images == "half"
    path.write_text('theme = "daylight"\nimages = "sixel"\n')
    assert chosen_display(None, None, path).theme == "daylight"
    assert chosen_display(None, "high-contrast", path).theme == "high-contrast"
    assert [chosen_display(images, None, path).images for images in (None, *IMAGES)] == ["sixel", *IMAGES]


@pytest.mark.parametrize("text", ['theme = "pink"', 'images = "jpeg"', "theme = "])
def test_a_config_file_that_cannot_be_used_is_said(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"config\.toml"):
        chosen_display(None, None, path)


@pytest.mark.parametrize(("multiplexer", "begin"), [("", "\x1b]52;c;"), ("screen", "\x1bP\x1b]52;c;")])
async def test_a_copy_goes_to_the_terminals_clipboard(hits: FakeSession, multiplexer: str, begin: str) -> None:
    sent: list[str] = []
    async with opened(hits, output=PictureOutput(multiplexer=multiplexer)) as driver:  # type: ignore[arg-type]
        await driver.ready()
        driver.app._driver.write = sent.append  # type: ignore[union-attr, method-assign]
        await driver.press("y")
        await driver.shows("copied:")
        assert any(text.startswith(begin) for text in sent)


async def test_without_colour_states_are_letters_and_pictures_characters(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    hits.label({0: "accepted", 1: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.shows("0.990  70.5 A", "0.980  70.5 X", "letters")
        assert "▀" not in driver.text()
