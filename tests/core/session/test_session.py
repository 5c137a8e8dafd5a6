from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.common.errors import RecipeError, SessionError
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import HEARTBEAT_LIMIT_S, Session, engine_is_alive
from photon_triage.core.session.state import EngineState


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
    assert Session.create(tmp_path / "s", recipe_text("spi"), "spi").engine_state() == EngineState()


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
    assert engine_is_alive(EngineState.from_json(state), now=100.5) is alive


@pytest.mark.parametrize(
    "values",
    [
        {
            "heartbeat": "now",
            "pid": "1",
            "models": {"classify": 3},
            "queue": -1,
            "paths": "data",
            "job": [],
            "version": None,
        },
        {
            "heartbeat": True,
            "pid": 1.5,
            "models": None,
            "queue": [],
            "paths": [1],
            "status": 3,
            "alarms": {},
            "later": 1,
        },
        {
            "heartbeat": 1e400,
            "busy_with": None,
            "busy_s": "long",
            "ignored": {".dat": "8"},
            "problems": [],
            "trouble": 1,
        },
    ],
)
def test_what_is_of_another_kind_in_an_engines_state_is_left_out(values: dict[str, object]) -> None:
    assert EngineState.from_json(values) == EngineState()


def test_an_engines_report_is_read_as_it_was_written() -> None:
    state = EngineState(7, "host", 1.0, "running", 2.0, model="a", models={"classify": "a"}, busy_with="f", busy_s=3.0)
    assert EngineState.from_json(state.to_json()) == state
