from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.errors import RecipeError, SessionError
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import HEARTBEAT_LIMIT_S, Session, engine_is_alive


def test_a_session_made_can_be_opened(tmp_path: Path) -> None:
    made = Session.create(tmp_path / "s", recipe_text("spi"), "spi")
    assert Session.open(tmp_path / "s").recipe() == made.recipe()


def test_made_twice_with_the_same_recipe_it_is_the_same(tmp_path: Path) -> None:
    Session.create(tmp_path / "s", recipe_text("spi"), "spi")
    assert Session.create(tmp_path / "s", recipe_text("spi"), "spi").recipe().name == "spi"


def test_another_recipe_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    Session.create(tmp_path / "s", recipe_text("spi"), "spi")
    with pytest.raises(SessionError, match="begun with another one"):
        Session.create(tmp_path / "s", recipe_text("sfx"), "sfx")
    assert Session.open(tmp_path / "s").recipe().name == "spi"


def test_a_recipe_that_cannot_be_used_makes_no_session(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        Session.create(tmp_path / "s", "name = 'x'", "mine.toml")
    assert not (tmp_path / "s").exists()


def test_a_folder_that_is_no_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="there is no recipe"):
        Session.open(tmp_path)


def test_a_session_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionError, match="Could not make the session"):
        Session.create(tmp_path / "file" / "s", recipe_text("spi"), "spi")


def test_before_an_engine_ran_there_is_no_state(tmp_path: Path) -> None:
    assert Session.create(tmp_path / "s", recipe_text("spi"), "spi").engine_state() == {}


@pytest.mark.parametrize(
    ("state", "alive"),
    [
        ({"status": "running", "heartbeat": 100.0}, True),
        ({"status": "starting", "heartbeat": 100.0}, True),
        ({"status": "stopped", "heartbeat": 100.0}, False),
        ({"status": "running", "heartbeat": 100.0 - HEARTBEAT_LIMIT_S}, False),
        ({}, False),
    ],
)
def test_an_engine_is_alive_while_its_heart_beats(state: dict[str, object], alive: bool) -> None:
    assert engine_is_alive(state, now=100.5) is alive
