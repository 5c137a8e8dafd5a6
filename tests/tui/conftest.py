from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_session import FakeSession, make_session


@pytest.fixture(autouse=True)
def terminal_of_many_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the screens of tests find, wherever the tests run."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeSession]:
    session = make_session(tmp_path)
    yield session
    session.close()


@pytest.fixture
def hits(fake: FakeSession) -> FakeSession:
    fake.add_frames(40)
    fake.run_engine()
    return fake
