from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.candidates import Candidate
from photon_triage.core.session.store.rows import ClassMap, FrameResult

from .fake_session import HEIGHT, WIDTH, FakeSession, make_session

SEARCH = """
name = "small-search"

[[stages]]
kind = "segment"
model = "membranes"

[[stages]]
kind = "patches"
model = "particles"
within = "membrane"
min_distance = 5
"""


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


@pytest.fixture
def found(tmp_path: Path) -> Iterator[FakeSession]:
    """Four frames: a membrane in the left half, two candidates on each."""
    fake = make_session(tmp_path, recipe=SEARCH)
    assert fake.writer is not None
    file_id = fake.add_file()
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:, : WIDTH // 2] = 1
    mask = ClassMap(values, ("background", "membrane"))
    results = [
        FrameResult(
            index, 2, True, 0.9, "membranes + particles", None, {"foreground": 0.5, "candidates": 2.0},
            candidates=(Candidate(20, 30, 0.95 - 0.1 * index), Candidate(70, 30, 0.45 - 0.1 * index)), mask=mask,
        )
        for index in range(4)
    ]  # fmt: skip
    fake.writer.put_frames(file_id, results, time.time())
    fake.run_engine(model="membranes + particles")
    yield fake
    fake.close()
