"""The EM-based reference: which classes are selected, and that spi_em_class tells kinds of frames apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.errors import SessionError
from photon_triage.core.compare import em
from photon_triage.core.compare.em import (
    EmSettings,
    chosen_by_labels,
    chosen_by_oracle,
    em_lists,
    load_classes,
    save_sorted,
    sort_frames,
)
from photon_triage.core.frames import FrameKey
from photon_triage.core.session.decisions.labels import LabelWriter

from ...tui.commands.test_cli import run
from ..embedding import builders
from ..embedding.builders import kind_frames, kind_session
from ..training.tasks.detector.test_detector_job import RECIPE

CENTRED = RECIPE + "[geometry]\nbeam_center_x = 32\nbeam_center_y = 24\n"


def keys(count: int) -> list[FrameKey]:
    return [FrameKey("/a.cxi", "/data", index) for index in range(count)]


def f1_of(classes: dict[FrameKey, int], truth: dict[FrameKey, bool], chosen: frozenset[int]) -> float:
    selected = {key for key, number in classes.items() if number in chosen and key in truth}
    hits = sum(truth[key] for key in selected)
    return 2 * hits / max(len(selected) + sum(truth.values()), 1)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=30))
def test_no_choice_of_classes_beats_the_oracle(frames: list[tuple[int, bool]]) -> None:
    classes = dict(zip(keys(len(frames)), (number for number, _ in frames), strict=True))
    truth = dict(zip(keys(len(frames)), (accepted for _, accepted in frames), strict=True))
    choices = (frozenset(n for n in range(1, 6) if mask >> n & 1) for mask in range(0, 64, 2))
    best = max(f1_of(classes, truth, choice) for choice in choices)
    assert f1_of(classes, truth, chosen_by_oracle(classes, truth)) == pytest.approx(best)


def test_labels_choose_by_majority() -> None:
    classes = dict(zip(keys(6), [1, 1, 1, 2, 2, 3], strict=True))
    labels = dict(zip(keys(5), [True, True, False, True, False], strict=True))
    assert chosen_by_labels(classes, labels) == {1}


def test_kinds_of_frames_come_into_classes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "RECIPE", CENTRED)
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # to compile would take longer than so few frames do
    session = kind_session(tmp_path, 30, misses=0)
    settings = EmSettings(classes=4, rotations=4, iterations=5, q_min=0, q_max=40, binning=2, friedel=False, log=False)
    seen: list[int] = []
    found = sort_frames(session, settings, lambda done, planned: seen.append(done))
    assert seen == [1, 2, 3, 4, 5] and found.mutual_information[-1] > found.mutual_information[0]
    assert found.keys == tuple(builders.key(tmp_path, index) for index in range(30))
    _, kinds = kind_frames(30)
    assert len({*zip(found.classes.tolist(), kinds.tolist(), strict=True)}) == 4, "a class for each kind"
    save_sorted(session, found, settings)
    assert list(load_classes(session).values()) == found.classes.tolist()
    writer = LabelWriter(session.journal())
    for index in range(30):
        writer.decide(builders.key(tmp_path, index), "accepted" if kinds[index] == 1 else "rejected")
    lists, rows = em_lists(session)
    assert {key.index for key in lists[0].keys} == {*np.flatnonzero(kinds == 1).tolist()}
    assert lists[0].keys == lists[1].keys
    assert sum(row.frames for row in rows) == 30 and rows[0].accepted == rows[0].labelled


def test_compare_shows_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = kind_session(tmp_path)
    code, _, told = run(capsys, "compare", str(session.path), "--em")
    assert code == 1 and "photon-triage em SESSION" in told
    sorted_ = em.Sorted((builders.key(tmp_path, 0), builders.key(tmp_path, 1)), np.array([1, 2]), (0.1,), 0)
    save_sorted(session, sorted_, EmSettings())
    LabelWriter(session.journal()).decide(builders.key(tmp_path, 1), "accepted")
    code, printed, _ = run(capsys, "compare", str(session.path), "--em", "--json")
    lists = {each["name"]: each for each in json.loads(printed)["lists"]}
    assert (
        code == 0 and lists["EM, classes by labels"]["selected"] == lists["EM, classes by an oracle"]["selected"] == 1
    )


def test_without_the_extra_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(em, "find_spec", lambda name: None)
    with pytest.raises(SessionError, match=r"photon-triage\[em\]"):
        sort_frames(kind_session(tmp_path, 15), EmSettings())


def test_an_unknown_centre_is_told(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="where the beam hits"):
        sort_frames(kind_session(tmp_path, 15), EmSettings())


def test_what_the_program_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "RECIPE", CENTRED)
    with pytest.raises(SessionError, match="spi_em_class ended with 1"):
        sort_frames(kind_session(tmp_path, 15), EmSettings(q_min=900, q_max=1000))
