from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photon_triage.core.common.errors import RecipeError, UsageError
from photon_triage.core.engine.alarm_rules import CHECK_S, HELD_S, Alarms, stability_index
from photon_triage.core.recipe import AlarmsTable, parse_recipe
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.alarms import Alarm, alarms_in, command_words, run_command
from photon_triage.core.session.store.rows import FrameResult

PLENTY = 10**12


class Engine:
    """Alarms with a clock of their own: a frame each 10 ms."""

    def __init__(self, folder: Path, free: int = PLENTY, first: Sequence[float] = (), **table: Any) -> None:
        self.now, self.free = 1000.0, free
        self.alarms = Alarms(
            AlarmsTable(**table), [folder], lambda model, limit: first[:limit], free=lambda path: self.free
        )

    def run(self, frames: int, rate: float, *, run: str = "r1", scores: Sequence[float] = ()) -> None:
        """So many frames with hits as evenly as they go."""
        for place in range(0, frames, 100):
            count = min(100, frames - place)
            results = [
                FrameResult(
                    place + k, 1, int((place + k + 1) * rate) > int((place + k) * rate),
                    scores[place + k] if len(scores) else None, "net" if len(scores) else None,
                )
                for k in range(count)
            ]  # fmt: skip
            self.alarms.saw(run, results, self.now)
            self.now += 0.01 * count

    def kinds(self, *, after: float = CHECK_S, backlog: int = 0) -> list[str]:
        self.now += after
        return [told["kind"] for told in self.alarms.check(self.now, backlog=backlog)]


def test_a_rate_that_halves_is_told_and_is_over_when_it_comes_back(tmp_path: Path) -> None:
    engine = Engine(tmp_path, rate_window_s=20)
    engine.run(10_000, 0.08)
    assert engine.kinds() == []
    engine.run(2000, 0.02)
    assert engine.kinds() == ["rate"]
    engine.run(4000, 0.09)
    assert engine.kinds(after=HELD_S) == []


def test_a_rate_that_may_have_fallen_by_chance_is_not_told(tmp_path: Path) -> None:
    engine = Engine(tmp_path, rate_window_s=5)
    engine.run(10_000, 0.01)
    engine.run(120, 0.0)
    assert engine.kinds(after=3) == []


def test_another_run_with_a_lower_rate_is_none(tmp_path: Path) -> None:
    engine = Engine(tmp_path, rate_window_s=20)
    engine.run(10_000, 0.08)
    engine.run(2000, 0.01, run="r2")
    assert engine.kinds() == []


def test_files_that_stop_are_told_unless_frames_wait_or_none_ever_came(tmp_path: Path) -> None:
    engine = Engine(tmp_path, files_stop_s=60)
    assert engine.kinds(after=600) == []
    engine.run(100, 0.1)
    assert engine.kinds(after=61, backlog=5) == []
    assert engine.kinds(after=61) == ["files"]


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path) -> None:
    engine = Engine(tmp_path, free=4 * 10**9)
    assert engine.kinds() == ["disk"]


def test_a_disk_that_fills_fast_is_told_before_it_is_full(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    seen = []
    for _ in range(20):
        seen.append(engine.kinds(after=10))
        engine.free -= 20 * 10**9  # 2 GB a second: full in minutes
    assert seen[0] == [] and seen[-1] == ["disk"]


def test_scores_that_drift_are_told_and_those_that_do_not_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for shift, told in ((0.0, []), (0.3, ["drift"])):
        engine = Engine(tmp_path, first=rng.beta(2, 5, 1000).tolist())
        engine.run(600, 0.5, scores=np.clip(rng.beta(2, 5, 600) + shift, 0, 1).tolist())
        assert engine.kinds() == told


def test_drift_is_measured_as_the_literature_does() -> None:
    same = np.linspace(0, 1, 1000)
    assert stability_index(same, same) == pytest.approx(0)
    half = np.sort(same * 0.499)  # twice as many in the lower five tenths, none in the others
    empty = 0.5 / 1000
    expected = 5 * (0.1 - 0.2) * np.log(0.1 / 0.2) + 5 * (0.1 - empty) * np.log(0.1 / empty)
    assert stability_index(same, half) == pytest.approx(expected, rel=0.02)


def test_an_alarm_runs_the_command_once_with_its_text_as_one_word(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = f"import sys, pathlib; pathlib.Path({str(out)!r}).open('a').write(repr(sys.argv[1:]) + chr(10))"
    run_command([sys.executable, "-c", code], "fell; touch $HOME").join()
    assert out.read_text() == "['fell; touch $HOME']\n"


def test_a_command_that_hangs_or_is_not_there_is_ended(tmp_path: Path) -> None:
    hanging = run_command([sys.executable, "-c", "import signal; signal.pause()"], "text", limit_s=0.2)
    missing = run_command([str(tmp_path / "nothing")], "text")
    for thread in (hanging, missing):
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("command", ["", "say 'it"])
def test_a_command_without_words_or_with_an_open_quote_is_refused(command: str) -> None:
    with pytest.raises(UsageError):
        command_words(command)


def test_what_does_not_look_like_an_alarm_is_left_out() -> None:
    state = EngineState(alarms=[{"kind": "disk", "text": "full", "since": 1}, {"kind": 3}, "nonsense"])
    assert alarms_in(state) == (Alarm("disk", "full", 1.0),) and alarms_in(EngineState()) == ()


def test_thresholds_stand_in_the_recipe_and_are_checked() -> None:
    text = 'name = "r"\n[[stages]]\nkind = "lit-pixels"\n[alarms]\nrate_fall = 0.7\ncommand = ["say", "-v"]\n'
    assert parse_recipe(text, "test").alarms.command == ("say", "-v")
    with pytest.raises(RecipeError, match=r"line 5, alarms\.rate_fall"):
        parse_recipe(text.replace("0.7", "1.7"), "test")


def test_frames_are_recorded_while_alarms_are_checked(tmp_path: Path) -> None:
    """The thread that records and the heartbeat use the same alarms; a deque that changes while it is read raises."""
    engine = Engine(tmp_path, rate_window_s=60)
    failures: list[BaseException] = []
    over = threading.Event()

    def check() -> None:
        try:
            while not over.is_set():
                engine.alarms._next = 0.0
                engine.alarms.check(engine.now)
        except BaseException as error:
            failures.append(error)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=check)
    thread.start()
    try:
        for index in range(30_000):
            engine.alarms.saw("r1", [FrameResult(index, 1, True)], engine.now)
    finally:
        over.set()
        thread.join()
        sys.setswitchinterval(before)
    assert not failures
