"""A threshold is tried, seen with its consequences, and kept or dropped."""

from __future__ import annotations

import pytest

from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.tui.widgets.metrics_pane import CURVE_HEIGHT

from ..driver import SIZES, opened
from ..fake_session import FakeSession


def audit(fake: FakeSession, count: int = 40, above: float = 0.65) -> set[int]:
    """Draw and label: hits are those with a score above that. Returns the indices of the drawn frames."""
    journal = fake.session.journal("ada")
    draw_more(fake.session, fake.session.labels(), 0.5, count, seed=1)
    writer = LabelWriter(journal)
    writer.queue = "audit"
    for drawn in fake.session.labels().draws[-1].frames:
        writer.decide(drawn.key, "accepted" if (drawn.score or 0) > above else "rejected")
    journal.close()
    return {drawn.key.index for drawn in fake.session.labels().draws[-1].frames}


async def test_a_threshold_is_tried_with_its_consequences_and_kept_by_enter(hits: FakeSession) -> None:
    hits.label({0: "accepted", 30: "rejected"})
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press(*["right_square_bracket"] * 20)
        await driver.shows("trying 0.70: list 30 (75.0 %)", "thr 0.70", "Keep", "u Drop")
        assert hits.session.labels().threshold is None
        await driver.press("enter")
        await driver.shows("✓ saved: threshold 0.70", "u Undo")
        assert hits.session.labels().threshold == 0.7
        await driver.press("left_square_bracket")
        await driver.shows("thr 0.69")


async def test_a_threshold_that_is_dropped_leaves_the_one_in_use(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("a")
        await driver.until(lambda: 0 in driver.on_disk())
        await driver.press("right_square_bracket")
        await driver.shows("trying 0.51", "u Drop")
        await driver.press("u")
        await driver.shows("the threshold stays 0.50", "thr 0.50", "u Undo")
        assert hits.session.labels().threshold is None
        assert 0 in driver.on_disk(), "no decision was taken back"


async def test_a_threshold_that_was_not_kept_is_not_written_on_leaving(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("right_square_bracket", "q")
        await driver.until(lambda: driver.app.return_value is not None)
    assert hits.session.labels().threshold is None


async def test_decisions_go_on_while_a_threshold_is_tried(hits: FakeSession) -> None:
    async with opened(hits) as driver:
        await driver.ready()
        await driver.press("right_square_bracket", "a")
        await driver.until(lambda: 0 in driver.on_disk())
        await driver.shows("thr 0.51", "u Drop")


@pytest.mark.parametrize("size", SIZES)
async def test_the_audit_gives_the_numbers_of_all_frames(hits: FakeSession, size: str) -> None:
    audit(hits)
    async with opened(hits, SIZES[size]) as driver:
        await driver.shows("P 0.85 [.85,.85]", "R 1.00 [1.0,1.0]", "n=40")
        await driver.press(*["right_square_bracket"] * 15)
        await driver.shows("trying 0.65: list 34 (85.0 %) P 1.00 [1.0,1.0] R 1.00 [1.0,1.0] n=40")


async def test_a_small_audit_says_what_it_needs_and_counts_ranked_labels_apart(hits: FakeSession) -> None:
    hits.add_frames(400, scores=[0.3 + 0.0017 * place for place in range(400)])
    drawn = audit(hits, 30)
    hits.label({min(set(range(440)) - drawn): "accepted"})
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.shows("Audit  n=30 of 440", "hits ", "P and R ±.05: label", "more", "ranked n=1")


async def test_the_curve_is_drawn_over_recall_with_a_table_over_thresholds(hits: FakeSession) -> None:
    audit(hits)
    async with opened(hits, SIZES["wide"]) as driver:
        await driver.shows("Precision / recall  audit n=40", "1.0┤█", "recall", "▶0.50       40  0.85 ±.00")
        lines = [line for line in driver.text().splitlines() if "█" * 20 in line]
        assert len(lines) >= CURVE_HEIGHT - 1
        await driver.press("right_square_bracket")
        await driver.shows("▶0.51")


async def test_people_who_differ_are_told_with_their_kappa(hits: FakeSession) -> None:
    hits.label({index: "accepted" if index % 2 else "rejected" for index in range(10)}, who="ada")
    hits.label({index: "accepted" if index % 2 or index == 0 else "rejected" for index in range(10)}, who="grace")
    async with opened(hits, SIZES["medium"]) as driver:
        await driver.shows("disagree 1", "κ 0.80 n=10")
