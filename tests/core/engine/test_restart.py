from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.engine import restart
from photon_triage.core.engine.process import EngineStatus
from photon_triage.core.engine.restart import EngineJob, restart_engine
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.writer import ResultsWriter

from ..session.builders import build_session

JOB = EngineJob((Path("/"),), False, 60.0, None, "ada", False)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return build_session(tmp_path / "s", {})


def at_work(session: Session, **state: Any) -> None:
    results = ResultsWriter(session.results_path)
    results.set_state({"status": "running", "heartbeat": time.time(), "pid": 4321, "host": "elsewhere"} | state)
    results.close()


def refusal(session: Session) -> str:
    with pytest.raises(SessionError) as error:
        restart_engine(session)
    assert not list(session.journal_path.iterdir())
    return str(error.value)


def test_where_no_engine_is_at_work_none_is_restarted(session: Session) -> None:
    assert "none is at work. Start one with `photon-triage watch" in refusal(session)


def test_an_engine_on_another_host_is_restarted_there(session: Session) -> None:
    at_work(session, job=JOB.as_json())
    said = refusal(session)
    assert "ada runs it on elsewhere (process 4321)" in said
    assert "Give the same command on elsewhere." in said


def test_an_engine_that_does_not_say_what_it_watches_is_left_at_work(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr(restart, "engine_status", lambda each: EngineStatus(each.engine_state(), True, 0.0))
    at_work(session)
    said = refusal(session)
    assert "another account runs it on elsewhere" in said
    assert "does not say what it watches. Stop it with `engine stop`." in said


def test_what_this_account_may_not_read_is_said_before_the_engine_stops(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    monkeypatch.setattr(restart, "engine_status", lambda each: EngineStatus(each.engine_state(), True, 0.0))
    at_work(session, job=JOB.as_json() | {"paths": [str(session.path / "gone")]})
    assert f"you may not read {session.path / 'gone'}, which it watches" in refusal(session)
