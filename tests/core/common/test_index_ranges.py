from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.index_ranges import Spans, runs_of

PIECES = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(0, 6)), max_size=10)


def build(pieces: list[tuple[bool, int, int]]) -> tuple[Spans, set[int]]:
    spans, indices = Spans(), set[int]()
    for add, start, count in pieces:
        if add:
            spans.add(start, start + count)
            indices.update(range(start, start + count))
        else:
            spans.remove(start, start + count)
            indices.difference_update(range(start, start + count))
    return spans, indices


def indices_of(spans: Spans) -> set[int]:
    return {index for start, stop in spans for index in range(start, stop)}


@given(PIECES)
def test_spans_are_a_set_of_indices_kept_as_few_ranges(pieces: list[tuple[bool, int, int]]) -> None:
    spans, indices = build(pieces)
    assert indices_of(spans) == indices == {index for index in range(40) if index in spans}
    assert (spans.count, spans.reach) == (len(indices), max(indices, default=-1) + 1)
    ranges = list(spans)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
    assert indices_of(spans.gaps(25)) == set(range(25)) - indices


@given(PIECES, PIECES)
def test_the_first_run_of_others_that_are_not_here(
    pieces: list[tuple[bool, int, int]], others: list[tuple[bool, int, int]]
) -> None:
    (here, inside), (there, wanted) = build(pieces), build(others)
    left = sorted(wanted - inside)
    assert indices_of(there.without(here)) == set(left)
    first = here.first(there)
    if not left:
        assert first is None
    else:
        run = next(length for length in range(1, len(left) + 1) if left[0] + length not in left)
        assert first == (left[0], left[0] + run)


def test_for_people_a_range_names_its_last_frame() -> None:
    assert str(Spans([(3, 4), (7, 10)])) == "3, 7-9"


@given(st.lists(st.integers(0, 12)))
def test_runs_hold_the_indices_in_their_order_and_are_as_few_as_can_be(indices: list[int]) -> None:
    runs = list(runs_of(indices))
    assert [index for start, stop in runs for index in range(start, stop)] == indices
    assert all(before[1] != after[0] for before, after in itertools.pairwise(runs))
