from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.audit.agreement import LabellerPair, disagreements, pairs

counts = st.integers(0, 60)


def test_the_textbooks_kappa() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement 0.7, by chance 0.5, kappa 0.4."""
    pair = LabellerPair("ada", "grace", 20, 5, 10, 15)
    assert (pair.n, pair.disagreements) == (50, 15)
    assert pair.expected == pytest.approx(0.5)
    assert pair.kappa == pytest.approx(0.4)
    assert pair.interval == pytest.approx((0.1511, 0.6489), abs=2e-4)


def test_agreement_throughout_is_one_and_one_verdict_alone_says_nothing() -> None:
    assert LabellerPair("a", "b", 5, 0, 0, 5).kappa == 1
    assert LabellerPair("a", "b", 9, 0, 0, 0).kappa is None
    assert LabellerPair("a", "b", 0, 0, 0, 0).interval == (-1, 1)


@given(counts, counts, counts, counts)
def test_kappa_lies_in_its_interval_and_does_not_care_who_is_first(a: int, b: int, c: int, d: int) -> None:
    pair, turned = LabellerPair("a", "b", a, b, c, d), LabellerPair("b", "a", a, c, b, d)
    low, high = pair.interval
    if pair.kappa is not None:
        assert low <= pair.kappa <= high
        assert turned.kappa == pytest.approx(pair.kappa)
    assert turned.interval == pytest.approx((low, high))


def test_pairs_are_counted_on_the_frames_that_both_decided_on() -> None:
    found = pairs({1: {"ada": True, "grace": True}, 2: {"ada": True, "grace": False}, 3: {"ada": True}, 4: {
        "ada": False, "grace": False, "mary": True}})  # fmt: skip
    assert found[0] == LabellerPair("ada", "grace", 1, 1, 0, 1)
    assert {(pair.first, pair.second): pair.n for pair in found[1:]} == {("ada", "mary"): 1, ("grace", "mary"): 1}
    assert disagreements(found) == 3
