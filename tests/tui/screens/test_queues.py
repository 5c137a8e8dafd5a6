"""The orders of work and the filters on the screen."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest

from photon_triage.core.embedding.store import EmbeddingStore, Places, place_arrays
from photon_triage.core.session.decisions.journal import user_name
from photon_triage.core.session.store.filters import QUEUES
from photon_triage.core.session.store.rows import FrameResult

from ..driver import SIZES, Driver, opened
from ..fake_session import FakeSession


@pytest.fixture
def worked(hits: FakeSession) -> FakeSession:
    """Forty hits and ten misses, some labelled by two people, some flagged, two scored by a second model."""
    assert hits.writer is not None
    file_id = hits.add_file("miss.h5", run="r0143")
    hits.writer.put_frames(file_id, [FrameResult(index, 0, False) for index in range(10)], time.time())
    hits.label({3: "rejected", 7: "accepted"}, who="grace")
    hits.label({3: "accepted", 5: "accepted"}, who=user_name())
    journal = hits.session.journal("grace")
    journal.append("flag", file=hits.key(20).file, dataset=hits.key(20).dataset, index=20, flagged=True)
    journal.close()
    hits.writer.rescore(
        hits.files["run_0142.h5"],
        [FrameResult(9, 3, True, 0.2, "second"), FrameResult(10, 3, True, 0.8, "second")],
    )
    return hits


async def listed(driver: Driver, ids: Sequence[int]) -> None:
    await driver.until(lambda: driver.list.ids.tolist() == list(ids), f"the list {list(ids)}")


@pytest.mark.parametrize(
    ("number", "name", "ids"),
    [("4", "disagree", [10, 11]), ("6", "flagged", [21]), ("7", "mine", [6, 4]), ("8", "disputed", [4])],
)
async def test_a_queue_holds_what_it_says(worked: FakeSession, number: str, name: str, ids: list[int]) -> None:
    async with opened(worked) as driver:
        await driver.ready()
        await driver.press("s", number)
        await driver.shows(f"by {name}")
        await listed(driver, ids)


async def test_the_audit_is_drawn_labelled_and_counted(worked: FakeSession) -> None:
    async with opened(worked) as driver:
        await driver.ready()
        await driver.press("s", "5")
        await driver.shows("no audit sample yet", "d draws frames at random")
        await driver.press("d")
        await driver.until(lambda: len(driver.list.ids) == 50, "all frames, misses too")
        (draw,) = worked.session.labels().draws
        assert len(draw.frames) == 50
        await driver.ready()
        first = driver.list.row
        assert first is not None
        await driver.press("a")
        await driver.until(lambda: first.key in worked.session.labels().labels)
        label = worked.session.labels().labels[first.key]
        assert (label.queue, label.who) == ("audit", user_name())
        await driver.press("d")
        await driver.shows("wait for a verdict")
        await driver.until(lambda: driver.main.snapshot.audit.at(0.5) is not None, "estimates")


async def test_an_empty_queue_says_what_it_needs(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        for number, told in (("4", "only one model has scored"), ("6", "f flags a frame"), ("8", "people agree")):
            await driver.press("s", number)
            await driver.shows(told)


async def test_what_is_embedded_is_listed_by_kind_and_by_loneliness(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("s", "9")
        await driver.shows("no frame is embedded yet", "photon-triage embed S")
        places = Places((("/gone.h5", "/entry/data"), (hits.key(0).file, hits.key(0).dataset)), *np.zeros((2, 4), int))
        places.file[:3], places.index[:3] = 1, [30, 5, 12]  # the last one is of a file that is not there any more
        store = EmbeddingStore(hits.session)
        store.folder.mkdir()
        orders = {"kinds": np.array([2, 3, 0, 1]), "outliers": np.array([1, 0, 3, 2])}
        store.write(store.order_path, **orders, **place_arrays(places))
        await listed(driver, [13, 31, 6])
        await driver.press("a", "a")  # the first may come too soon after the list has changed
        await driver.until(lambda: 12 in driver.on_disk())
        assert driver.on_disk()[12].queue == "kinds", "not the audit: it was chosen"
        await driver.press("s", "0")
        await driver.shows("by outliers")
        await listed(driver, [6, 31, 13])


async def test_the_chooser_can_be_left(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("s", "j", "q")
        await driver.until(lambda: driver.app.screen is driver.main)
        await driver.shows("by score")


async def test_queues_stand_in_the_palette(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        found = {entry.title: entry for entry in driver.app.get_system_commands(driver.main)}
        assert {f"Queue: {queue}" for queue in QUEUES} < set(found) and "Audit: draw frames" in found
        found["Queue: uncertain"].callback()
        await driver.shows("by uncertain")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("score:>=0.965", [1, 2, 3]),
        ("state:undecided score:>0.955", [1, 2, 3]),
        ("state:accepted,rejected", [4, 6, 8]),
        ("state:miss run:r0143", list(range(50, 40, -1))),
        ("state:flagged", [21]),
        ("photons:1238..1239", [39, 40]),
    ],
)
async def test_a_filter_is_typed(worked: FakeSession, text: str, ids: list[int]) -> None:
    async with opened(worked) as driver:
        await driver.ready()
        await driver.press("slash", *("space" if sign == " " else sign for sign in text), "enter")
        await listed(driver, ids)


async def test_a_filter_that_is_not_understood_says_why_and_stays_open(hits: FakeSession) -> None:
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.ready()
        await driver.press("slash", *"score:high", "enter")
        await driver.shows("expected a number", "state:undecided,flagged")
        await driver.press(*["backspace"] * 4, *">.985", "enter")
        await listed(driver, [1])


async def test_a_queue_and_a_filter_work_together(worked: FakeSession) -> None:
    async with opened(worked) as driver:
        await driver.ready()
        await driver.press("s", "7")
        await listed(driver, [6, 4])
        await driver.press("slash", *"score:>0.95", "enter")
        await listed(driver, [4])


async def test_labels_are_of_who_was_named(hits: FakeSession) -> None:
    hits.session.who = "mary"
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a")
        await driver.until(lambda: 0 in driver.on_disk())
        assert driver.on_disk()[0].who == "mary"
        await driver.press("s", "7")
        await listed(driver, [1])
