from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from photon_triage.tui.terminal.text import cells, cut


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=30), st.integers(0, 30))
def test_a_cut_text_fits(text: str, width: int) -> None:
    assert cells(cut(text, width)) <= width
    if cells(text) <= width:
        assert cut(text, width) == text
