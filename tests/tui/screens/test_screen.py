"""What the main screen shows, at the sizes it was drawn for and in the states a session can be in."""

from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.presence import Presence

from ..driver import SIZES, opened
from ..fake_session import FakeSession, make_session

EXPECTED = {
    "narrow": [
        "r0142",
        "●LIVE",
        "412 Hz",
        "lag 0.3s",
        "thr 0.50",
        "38? 1A 1X",
        "by score · hits",
        "a Accept",
        "? Help",
    ],
    "medium": ["dropped 0", "38 undecided", "1 bin = 10 s", "threshold 0.50 selects 40", "to do 38", "f Flag"],
    "wide": ["accepted", "Precision / recall  n=2", "▶0.50", "state    ●LIVE", "4242 on beamline", "r0142 opened"],
}


@pytest.mark.parametrize("size", SIZES)
async def test_each_size_shows_what_it_was_drawn_for(hits: FakeSession, size: str) -> None:
    hits.label({0: "accepted", 1: "rejected"})
    async with opened(hits, SIZES[size]) as driver:
        await driver.ready()
        await driver.shows(*EXPECTED[size])


@pytest.mark.parametrize("size", SIZES)
async def test_no_line_is_wider_than_the_terminal(hits: FakeSession, size: str) -> None:
    async with opened(hits, SIZES[size]) as driver:
        await driver.ready()
        assert {len(line) for line in driver.text().splitlines()} == {SIZES[size][0]}


@pytest.mark.parametrize("size", SIZES)
async def test_precision_stands_with_n_and_interval_and_recall_with_its_caveat(hits: FakeSession, size: str) -> None:
    hits.label({0: "accepted", 1: "accepted", 2: "rejected"})
    async with opened(hits, SIZES[size]) as driver:
        await driver.shows("P 0.67 [.21,.94]", "n=3", "recall: no audit sample yet")


async def test_recall_is_told_once_a_file_is_labelled_completely(hits: FakeSession) -> None:
    hits.label({index: "accepted" if index < 20 else "rejected" for index in range(40)})
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.shows("recall 1.00", "audit n=40")


async def test_the_numbers_of_no_labels_are_not_invented(hits: FakeSession) -> None:
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.shows("no labels yet", "n=0")
        assert "P 0" not in driver.text() and "P 1" not in driver.text()


@pytest.mark.parametrize("size", SIZES)
async def test_simulated_frames_are_called_simulated(fake: FakeSession, size: str) -> None:
    fake.add_file(simulated=True)
    fake.add_frames(3)
    async with opened(fake, SIZES[size]) as driver:
        await driver.shows("SIMULATED")


async def test_measured_frames_are_not_called_simulated(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        assert "SIMULATED" not in driver.text()


async def test_a_session_without_results_says_how_to_start(tmp_path: Path) -> None:
    async with opened(make_session(tmp_path, results=False)) as driver:
        await driver.shows("no engine yet", "watch PATH starts an engine")


async def test_results_that_come_later_are_found(tmp_path: Path) -> None:
    fake = make_session(tmp_path, results=False)
    async with opened(fake) as driver:
        await driver.shows("no engine yet")
        later = make_session(tmp_path)
        later.add_frames(2)
        await driver.ready()
        later.close()


async def test_an_empty_data_base_is_an_engine_that_starts(tmp_path: Path) -> None:
    fake = make_session(tmp_path, results=False)
    fake.session.results_path.touch()
    async with opened(fake) as driver:
        await driver.shows("no engine yet")


async def test_a_session_without_frames_says_so(fake: FakeSession) -> None:
    fake.run_engine()
    async with opened(fake) as driver:
        await driver.shows("no hits yet in 0 frames", "●LIVE")


async def test_a_dead_engine_is_told_with_the_way_to_start_it(hits: FakeSession) -> None:
    hits.run_engine(heartbeat=1.0)
    async with opened(hits) as driver:
        await driver.shows("○ engine not running", "watch PATH starts it")


@pytest.mark.parametrize("size", SIZES)
async def test_an_engine_that_does_not_answer_is_told_with_the_seconds(
    hits: FakeSession, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "photon_triage.tui.snapshot.snapshot_builder.presence_of", lambda *_: Presence(True, silent_s=13.0)
    )
    async with opened(hits, SIZES[size]) as driver:
        await driver.shows(
            "◌ does not answer for 13 s", "The engine does not answer for 13 s (process 4242 on beamline)"
        )
        assert "412 Hz" not in driver.text().splitlines()[0]


@pytest.mark.parametrize("size", SIZES)
async def test_an_engine_that_is_busy_with_a_file_names_it(hits: FakeSession, size: str) -> None:
    hits.run_engine(busy_with="run_19[red]_a_name_of_many_letters.tif", busy_s=44.0)
    async with opened(hits, SIZES[size]) as driver:
        await driver.shows("◑ busy with run_1", "for 44 s", "thr 0.50")
    hits.run_engine(busy_with="19.tif", busy_s=44.0)
    async with opened(hits, SIZES[size]) as driver:
        await driver.shows("◑ busy with 19.tif for 44 s")


async def test_an_engine_that_died_is_told_with_the_way_to_start_it(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photon_triage.tui.snapshot.snapshot_builder.presence_of", lambda *_: Presence(died=True))
    async with opened(hits) as driver:
        await driver.shows("✗ ENGINE DIED", "it was killed, or has crashed", "watch PATH starts it")


@pytest.mark.parametrize(
    ("status", "shown"), [("finished", "FINISHED"), ("failed", "ENGINE FAILED"), ("starting", "STARTING")]
)
async def test_the_engine_says_how_it_is(hits: FakeSession, status: str, shown: str) -> None:
    hits.run_engine(status=status)
    async with opened(hits) as driver:
        await driver.shows(shown)


async def test_an_engine_whose_recipe_has_no_network_names_no_model(hits: FakeSession) -> None:
    hits.run_engine(model=None, device="cpu")
    async with opened(hits, size=SIZES["wide"]) as driver:
        await driver.shows("model    none on cpu")
        assert "None" not in driver.text()


async def test_an_engine_that_says_nothing_is_no_reason_to_fail(fake: FakeSession) -> None:
    fake.add_frames(2)
    async with opened(fake, SIZES["wide"]) as driver:
        await driver.ready()
        await driver.shows("engine not running")


async def test_what_nobody_foresaw_in_the_session_is_a_banner_and_no_end(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        with monkeypatch.context() as broken:
            broken.setattr("photon_triage.tui.snapshot.snapshot_builder.presence_of", lambda *_: [][0])
            await driver.shows("Could not read the session: IndexError")
        await driver.until(lambda: "Could not read" not in driver.text())


async def test_a_decision_that_fails_is_told_and_the_next_one_is_saved(
    hits: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        with monkeypatch.context() as broken:
            broken.setattr(LabelWriter, "decide_all", lambda *_, **__: [][0])
            await driver.press("a")
            await driver.shows("Could not save a decision: IndexError")
        await driver.press("x")
        await driver.until(lambda: [label.verdict for label in driver.on_disk().values()] == ["rejected"])


async def test_damaged_journal_lines_are_counted(hits: FakeSession) -> None:
    (hits.session.journal_path / "torn.jsonl").write_bytes(b"00000000 {}\nnot a record\n")
    async with opened(hits) as driver:
        await driver.shows("2 damaged journal lines")


async def test_labels_of_another_operator_arrive(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        hits.label({3: "rejected"}, who="colleague")
        await driver.shows("0A 1X")


async def test_a_data_base_that_is_none_raises_a_banner(tmp_path: Path) -> None:
    fake = make_session(tmp_path, results=False)
    fake.session.results_path.write_bytes(b"this is no data base at all" * 100)
    async with opened(fake) as driver:
        await driver.shows("Could not read the session")
