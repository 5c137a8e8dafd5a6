"""The screen of trainings: what it shows at each size, what its keys do, and what the main screen says of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from photon_triage.core.audit.paired_difference import F1Difference, McNemar
from photon_triage.core.common.errors import SessionError
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Confusion
from photon_triage.core.session.models.catalog import shipped_models
from photon_triage.core.session.models.promotion import shadow_of
from photon_triage.core.session.models.promotion_rule import Figures, FlippedFrame, GroupComparison, Verdict
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import PAUSE, STOP, Status, read_status, write_status
from photon_triage.tui import cli
from photon_triage.tui.screens import model_comparison as promoting
from photon_triage.tui.screens import trainings_screen as training
from photon_triage.tui.snapshot.comparison_view import ComparisonView
from photon_triage.tui.widgets.trainings import plotted

from ...core.session.trainings.test_trainings import points, write_training
from ..driver import SIZES, opened
from ..fake_session import FakeSession


def compare_with(monkeypatch: pytest.MonkeyPatch, verdict: Verdict, **told: object) -> None:
    """Have every model compare like this."""
    found = ComparisonView(verdict.new, verdict, filter="changed:0.5,hitnet-spi-2", **told)  # type: ignore[arg-type]
    monkeypatch.setattr(promoting, "compared", lambda session, model: found)


def verdict(*, better: bool, reason: str = "F1 0.80 to 0.90 on 60 frames") -> Verdict:
    """Of a new model, on 60 labels."""
    old, new = (
        Figures(each.precision, each.recall, each.f1) for each in (Confusion(20, 5, 5, 30), Confusion(23, 2, 2, 33))
    )
    judged = GroupComparison("audit", 60, 25, old, new, McNemar(2, 8), F1Difference(0.12, 0.02, 0.21, 0.01, 0.05))
    gained = tuple(FlippedFrame(FrameKey("/data/a.h5", "", n), 0.4, 0.6, n % 2 == 0) for n in range(3))
    return Verdict(
        "hitnet-spi", "hitnet-spi-2", 0.5, judged, judged, None, 4, 0, 1234, gained, (), better=better, reason=reason
    )


@pytest.mark.parametrize("size", SIZES)
async def test_trainings_stand_with_their_state_bar_curves_and_time(hits: FakeSession, size: str) -> None:
    write_training(hits.session, "hitnet-spi-2", "running", points(60))
    write_training(hits.session, "[b]hitnet", "failed", points(10))
    async with opened(hits, SIZES[size]) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("hitnet-spi-2 ▶ running", "60 % ██████", "40 s left", "[b]hitnet", "✗ failed")
        await screen.shows("Loss", "F1 on held-out data", "100│", "⠒", "b Begin", "space Pause")
        assert {len(line) for line in screen.text().splitlines()} == {SIZES[size][0]}
        await screen.press("T")
        await screen.shows("Candidates 40", "train")


@pytest.mark.parametrize("size", SIZES)
async def test_a_trained_model_stands_beside_the_one_in_use(
    hits: FakeSession, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_training(hits.session, "hitnet-spi-2", "done", points(100))
    compare_with(monkeypatch, verdict(better=True), note="p promotes · v lists what changed sides")
    async with opened(hits, SIZES[size]) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("hitnet-spi-2 against hitnet-spi · audit n=60", "P 0.80 [", "F1 0.92 [")
        await screen.shows("old 2, new 8", "p = 0.11", "+0.120 [+0.02,+0.21]", "1,234: 3 gained (2A 1X), 0 lost")
        await screen.shows("✓ better: F1 0.80 to 0.90", "p promotes")


async def test_before_a_training_begins_it_is_said_what_it_would_learn_from(hits: FakeSession) -> None:
    hits.label({0: "accepted", 1: "rejected", 2: "accepted"})
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("none yet · b begins one")
        await screen.press("b")
        await screen.shows("to learn from", "no queue               2         1", "runs 1 of 1: r0142 3")
        await screen.shows("continue (↑↓)  hitnet-spi", "hitnet-spi-2")
        await screen.press("escape")
        await screen.shows("none yet · b begins one")


async def test_enter_begins_a_training_that_is_said_to_be_done_and_scores_in_the_shadow(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, str, tuple[str, ...]]] = []

    def begin(session: Session, name: str, base: str, more: tuple[str, ...]) -> None:
        begun.append((name, base, more))
        write_training(session, name, "running", points(3))
        add_model(session, name)

    monkeypatch.setattr(training, "begin", begin)
    add_model(hits.session, "hitnet-spi-2")
    async with opened(hits, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.press("T", "b")
        await screen.shows("continue (↑↓)  hitnet-spi")
        await screen.press("tab", *"--seed 3", "enter")
        await screen.shows("hitnet-spi-3 ▶ running", "✓ hitnet-spi-3 trains beside the engine")
        assert begun == [("hitnet-spi-3", "hitnet-spi", ("--seed", "3"))]
        await screen.press("q")
        await screen.shows("training hitnet-spi-3 3 %")
        write_status(hits.session.path / "training" / "hitnet-spi-3", Status("done"))
        await screen.shows("✓ training hitnet-spi-3 is done after 3 s · T compares and promotes")


async def test_a_model_trained_on_this_screen_scores_in_the_shadow(hits: FakeSession) -> None:
    add_model(hits.session, "hitnet-spi-2")
    folder = write_training(hits.session, "hitnet-spi-2", "running", points(3))
    async with opened(hits) as screen:
        await screen.until(lambda: screen.main.snapshot.trainings, "the training")
        screen.main.training.begun.add("hitnet-spi-2")
        write_status(folder, Status("done"))
        await screen.until(lambda: shadow_of(hits.session) == "hitnet-spi-2", "the shadow")


@pytest.mark.parametrize(("key", "file"), [("space", PAUSE), ("x", STOP)])
async def test_pause_and_stop_are_wishes_in_the_folder(hits: FakeSession, key: str, file: str) -> None:
    folder = write_training(hits.session, "hitnet-spi-2", "running", points(60))
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("▶ running")
        await screen.press(key)
        await screen.until((folder / file).exists, f"the file {file}")
        await screen.shows("after this batch")
        if key == "space":
            write_status(folder, read_status(folder) and Status("paused", "", **vars_of(folder)))  # type: ignore[arg-type]
            await screen.shows("‖ paused")
            await screen.press("space")
            await screen.until(lambda: not (folder / PAUSE).exists(), "the file to go")


async def test_an_interrupted_training_is_resumed_and_a_refusal_is_shown_whole(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_training(hits.session, "hitnet-spi-2", "interrupted", points(60))
    asked = threading.Event()

    def resume(given: object) -> None:
        asked.set()
        raise SessionError("The command is not known, " + "and this is said at length, " * 3 + "to the end.")

    monkeypatch.setattr(training, "resume", resume)
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("! interrupted", "space goes on")
        await screen.press("space")
        await screen.until(asked.is_set, "the resumption")
        await screen.shows("✗ The command is not known", "to the end.")


async def test_one_key_promotes_and_another_rolls_back(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    write_training(hits.session, "hitnet-spi-2", "done", points(100))
    add_model(hits.session, "hitnet-spi-2")
    compare_with(monkeypatch, verdict(better=True))
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("✓ better")
        await screen.press("p")
        await screen.shows("✓ hitnet-spi-2 is in use from the next batch on")
        await screen.press("u")
        await screen.shows("✓ hitnet-spi is in use again in place of hitnet-spi-2")


async def test_a_model_that_is_scored_in_part_waits_for_scores_without_figures(hits: FakeSession) -> None:
    assert hits.writer is not None
    hits.label({index: "accepted" if index < 10 else "rejected" for index in range(20)})
    hits.writer.put_shadow(1, "hitnet-spi-2", [(0, 0.2, ()), (1, 0.3, ())])
    write_training(hits.session, "hitnet-spi-2", "done", points(100))
    add_model(hits.session, "hitnet-spi-2")
    async with opened(hits, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("… it waits for scores: both models have scored 2 of 20 labelled frames")
        await screen.shows("w has the engine score the labelled frames with it")
        assert "right alone" not in screen.text() and " R 0." not in screen.text()
        await screen.press("w")
        await screen.shows("the engine scores the rest while nothing else waits")


async def test_a_model_that_is_not_better_is_not_promoted(hits: FakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    write_training(hits.session, "hitnet-spi-2", "done", points(100))
    add_model(hits.session, "hitnet-spi-2")
    compare_with(monkeypatch, verdict(better=False, reason="F1 0.90 to 0.80 on 60 frames: it is not higher"))
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("✗ F1 0.90 to 0.80 on 60 frames: it is not higher")
        await screen.press("p")
        await screen.shows("hitnet-spi-2 is not promoted over hitnet-spi")


async def test_the_frames_that_changed_sides_are_walked_through(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hits.writer is not None
    hits.writer.put_shadow(1, "hitnet-spi-2", [(0, 0.2, ()), (1, 0.3, ()), (2, 0.9, ())])
    write_training(hits.session, "hitnet-spi-2", "done", points(100))
    compare_with(monkeypatch, verdict(better=True))
    async with opened(hits, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("✓ better")
        await screen.press("v")
        await screen.shows("by disagree", "Candidates 2", "frames that changed sides")
        await screen.until(lambda: screen.list.selected == 1, "the frame with the largest difference")


async def test_a_read_only_screen_follows_and_begins_nothing(hits: FakeSession) -> None:
    folder = write_training(hits.session, "hitnet-spi-2", "running", points(60))
    hits.session.read_only = True
    async with opened(hits) as screen:
        await screen.ready()
        await screen.press("T")
        await screen.shows("READ-ONLY", "▶ running")
        for key in ("b", "space", "x", "u"):
            await screen.press(key)
        await screen.shows("this screen is read-only")
        assert not (folder / PAUSE).exists() and not (folder / STOP).exists()
        assert screen.app.screen.id != "begin" and "enter begins" not in screen.text()


async def test_help_of_trainings_tells_their_keys(hits: FakeSession) -> None:
    write_training(hits.session, "hitnet-spi-2", "done", points(3))
    async with opened(hits, SIZES["medium"]) as screen:
        await screen.ready()
        await screen.press("T", "question_mark")
        await screen.shows("Use the new model, where it is better", "Stop after this batch", "Back to the list")


async def test_a_failure_is_told_on_the_main_screen(hits: FakeSession) -> None:
    folder = write_training(hits.session, "hitnet-spi-2", "running", points(3))
    async with opened(hits, SIZES["medium"]) as screen:
        await screen.shows("training hitnet-spi-2 3 %")
        write_status(folder, Status("failed", "the loss is nan"))
        await screen.shows("✗ training hitnet-spi-2 is failed: the loss is nan")


def test_a_curve_is_drawn_in_dots_from_corner_to_corner() -> None:
    assert plotted([(0, 1.0), (10, 0.0)], 10, 0.0, 1.0, 4, 2) == ["⠑⢄  ", "  ⠑⢄"]
    assert plotted([], 10, 0.0, 1.0, 3, 1) == ["   "]


def test_trainings_are_listed_and_paused_on_the_command_line(
    hits: FakeSession, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_training(hits.session, "hitnet-spi-2", "running", points(60))
    path = str(hits.session.path)
    assert ran(["training", "pause", path, "hitnet-spi-2"]) == cli.DONE
    assert (folder / PAUSE).exists()
    assert ran(["training", "list", path]) == cli.DONE
    out = " ".join(capsys.readouterr().out.split())
    assert "‖ pausing 60/100 0.0167 0.300 40 s" in out and "best F1 on held-out data" in out
    assert ran(["training", "continue", path, "hitnet-spi-2"]) == cli.DONE
    assert not (folder / PAUSE).exists()
    write_status(folder, Status("done"))
    assert ran(["training", "stop", path, "hitnet-spi-2"]) == cli.FOUND_WRONG


def ran(arguments: list[str]) -> object:
    """The exit code of a command."""
    try:
        return cli.main(arguments)
    except SystemExit as error:
        return error.code


def add_model(session: Session, name: str) -> None:
    """A model in the session by all that its file's header tells, like the shipped one."""
    told = json.dumps(shipped_models()["hitnet-spi"].metadata | {"name": name})
    header = json.dumps({"__metadata__": {"photon_triage": told}}).encode()
    (session.models_path / f"{name}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def vars_of(folder: Path) -> dict[str, object]:
    """What the process of a training is."""
    told = read_status(folder)
    assert told is not None
    return {"pid": told.pid, "host": told.host}
