from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.metrics import (
    Confusion,
    Estimate,
    Interval,
    best_threshold,
    confusion_at,
    curve,
    wilson,
)

POSITIVES, NEGATIVES = 995, 16_937

# selected, intersection with the manual selection, then IoU, accuracy, precision, recall (%) as the slides print them
SLIDES = {
    "yolov2 colour linear": (1185, 597, 38, 95, 50, 60, 54.8),
    "yolov2 colour log": (1368, 614, 35, 94, 45, 62, 52.0),
    "yolov2 grey linear": (1756, 622, 29, 92, 35, 63, 45.2),
    "yolov2 grey log": (904, 487, 34, 95, 54, 50, 51.3),
    "yolov3 colour linear": (1041, 505, 33, 94, 49, 51, 49.6),
    "yolov3 grey linear": (2316, 465, 16, 87, 20, 47, 28.1),
}

counts = st.integers(0, 3000)
confusions = st.builds(Confusion, counts, counts, counts, counts)
scores_and_truth = st.lists(st.tuples(st.none() | st.integers(0, 8).map(lambda v: v / 8), st.booleans()), max_size=60)


def of_slide(selected: int, both: int) -> Confusion:
    return Confusion(both, selected - both, POSITIVES - both, NEGATIVES - (selected - both))


def percent(estimate: Estimate) -> float:
    assert estimate.value is not None
    return 100 * estimate.value


@pytest.mark.parametrize("row", SLIDES.values(), ids=SLIDES.keys())
def test_the_slides_table_follows_from_its_counts(row: tuple[float, ...]) -> None:
    selected, both, iou, accuracy, precision, recall, f1 = row
    confusion = of_slide(int(selected), int(both))
    got = [percent(e) for e in (confusion.iou, confusion.accuracy, confusion.precision, confusion.recall)]
    # The slides round loosely: 487 of 995 is 48.9 % and stands there as 50.
    assert got == pytest.approx([iou, accuracy, precision, recall], abs=1.1)
    assert round(percent(confusion.f1), 1) == f1


def test_all_frames_of_the_test_set_are_counted() -> None:
    assert of_slide(1185, 597).n == POSITIVES + NEGATIVES


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Stat. Med. 17, 857 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_the_published_examples(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_without_trials_says_nothing() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="Expected 0 <= successes <= n"):
        wilson(successes, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 1.5])
def test_wilson_refuses_an_impossible_confidence(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence)


@given(st.integers(1, 10_000), st.data())
def test_wilson_holds_its_share_and_widens_with_confidence(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    usual, wide = wilson(successes, n), wilson(successes, n, 0.99)
    assert 0 <= wide.low <= usual.low <= successes / n <= usual.high <= wide.high <= 1


@given(st.integers(1, 1000), st.data())
def test_wilson_is_symmetric(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    one, other = wilson(successes, n), wilson(n - successes, n)
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-12)


@given(confusions, st.floats(0.1, 10))
def test_every_estimate_lies_in_its_interval(confusion: Confusion, beta: float) -> None:
    for estimate in (
        confusion.accuracy,
        confusion.precision,
        confusion.recall,
        confusion.iou,
        confusion.f1,
        confusion.f_beta(beta),
    ):
        if estimate.value is None:
            assert (estimate.low, estimate.high) == (0.0, 1.0)
        else:
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


@given(confusions)
def test_f_beta_is_f1_for_beta_one(confusion: Confusion) -> None:
    one, other = confusion.f1, confusion.f_beta(1.0)
    assert one.value == pytest.approx(other.value)
    assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)


@given(confusions.filter(lambda c: c.tp > 0), st.floats(0.1, 10))
def test_f_beta_is_the_weighted_harmonic_mean(confusion: Confusion, beta: float) -> None:
    precision, recall = confusion.precision.value, confusion.recall.value
    assert precision is not None and recall is not None
    expected = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
    assert confusion.f_beta(beta).value == pytest.approx(expected)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_intervals_cover_the_truth_as_often_as_they_say(beta: float) -> None:
    shares = (0.30, 0.05, 0.20, 0.45)
    weight = 1 + beta**2
    true = weight * shares[0] / (weight * shares[0] + beta**2 * shares[2] + shares[1])
    draws = np.random.default_rng(7).multinomial(150, shares, size=3000).tolist()
    estimates = [Confusion(*row).f_beta(beta) for row in draws]
    covered = sum(e.low <= true <= e.high for e in estimates) / len(estimates)
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("beta", [0.0, -1.0, float("nan"), float("inf")])
def test_f_beta_refuses_a_weight_that_is_none(beta: float) -> None:
    with pytest.raises(ValueError, match="beta > 0"):
        Confusion(1, 1, 1, 1).f_beta(beta)


def test_nothing_selected_leaves_precision_open_and_recall_zero() -> None:
    confusion = Confusion(0, 0, 5, 5)
    assert confusion.precision == Estimate(None, 0.0, 1.0)
    assert confusion.recall.value == 0.0


def test_a_frame_without_score_is_not_selected_and_an_unknown_one_is_left_out() -> None:
    scores = {"a": 0.9, "b": None, "c": 0.2, "d": 0.5}
    truth = {"a": True, "b": True, "c": False, "d": False, "elsewhere": True}
    comparison = confusion_at(scores, truth, 0.5)
    assert comparison.confusion == Confusion(tp=1, fp=1, fn=1, tn=1)
    assert comparison.unmatched == 1


def test_a_score_at_the_threshold_is_selected() -> None:
    assert confusion_at({"a": 0.5}, {"a": True}, 0.5).confusion.tp == 1


@given(scores_and_truth)
def test_the_curve_is_the_confusion_at_each_of_its_thresholds(frames: list[tuple[float | None, bool]]) -> None:
    scores = {place: score for place, (score, _) in enumerate(frames)}
    truth = {place: true for place, (_, true) in enumerate(frames)}
    points = curve(scores, truth)
    assert points.thresholds.tolist() == sorted({s for s in scores.values() if s is not None}, reverse=True)
    for place, threshold in enumerate(points.thresholds.tolist()):
        expected = confusion_at(scores, truth, threshold).confusion
        assert points.confusion(place) == expected
        assert points.precision[place] == pytest.approx(expected.precision.value)
        assert points.f1[place] == pytest.approx(expected.f1.value)
        if expected.recall.value is not None:
            assert points.recall[place] == pytest.approx(expected.recall.value)


@given(scores_and_truth)
def test_no_threshold_beats_the_best(frames: list[tuple[float | None, bool]]) -> None:
    scores = {place: score for place, (score, _) in enumerate(frames)}
    truth = {place: true for place, (_, true) in enumerate(frames)}
    best = best_threshold(scores, truth)
    if best is None:
        assert not any(true and score is not None for score, true in frames)
        return
    reached = confusion_at(scores, truth, best).confusion.f1.value
    assert reached is not None
    for threshold in {s for s in scores.values() if s is not None}:
        assert (confusion_at(scores, truth, threshold).confusion.f1.value or 0.0) <= reached + 1e-12
