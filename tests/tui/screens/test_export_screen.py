"""The export dialog: what fits the session, what it proposes, what is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input

from photon_triage.core.export import fitting
from photon_triage.core.recipe import load_recipe
from photon_triage.tui.screens.export_screen import ExportScreen

from ..driver import SIZES, opened
from ..fake_session import FakeSession, make_session


@pytest.fixture
def hits(tmp_path: Path) -> Iterator[FakeSession]:
    fake = make_session(tmp_path)
    fake.add_frames(3, scores=[0.2, 0.9, 0.8])
    fake.run_engine()
    yield fake
    fake.close()


async def test_the_formats_that_fit_are_offered_in_turn(hits: FakeSession) -> None:
    async with opened(hits, SIZES["narrow"]) as driver:
        await driver.ready()
        await driver.press("e")
        await driver.shows("[crystfel]", "CrystFEL event list", "parquet-csv")
        await driver.press("up")
        screen = driver.app.screen
        assert isinstance(screen, ExportScreen)
        last = fitting(hits.session.recipe())[-1]
        await driver.shows(f"[{last.name}]", last.title)
        await driver.press("down")
        await driver.shows("[crystfel]")


async def test_a_format_with_a_list_for_each_file_is_proposed_as_a_folder(hits: FakeSession) -> None:
    async with opened(hits, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.press("e", "down", "down", "down", "ctrl+t")
        await driver.shows("[dragonfly]")
        proposed = Path(driver.app.screen.query_one(Input).value)
        assert proposed.suffix == "" and proposed.name.endswith("-dragonfly")
        await driver.press("tab", "enter")
        await driver.shows("frames in")
        assert [path.read_text() for path in proposed.parent.glob("*-dragonfly/*.txt")] == ["1\n2\n"]


def test_particle_lists_are_offered_for_candidates_alone() -> None:
    names = {
        recipe: [each.name for each in fitting(load_recipe(recipe))] for recipe in ("spi", "sfx", "tomo", "cryoet")
    }
    assert "relion" in names["cryoet"] and "mask-tiff" in names["cryoet"] and "yolo" in names["cryoet"]
    assert "relion" not in names["tomo"] and "mask-tiff" in names["tomo"] and "yolo" not in names["tomo"]
    assert "yolo" in names["spi"] and "mask-tiff" not in names["spi"]
    assert names["sfx"] == ["crystfel", "csv", "parquet-csv", "dragonfly", "dragonfly-vector", "spi-cxi", "cheetah"]
