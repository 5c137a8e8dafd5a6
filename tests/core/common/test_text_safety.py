from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common.text_safety import safe_text

STEERING = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u061c\u200e\u200f\u202a\u202e\u2066\u2069"]


@pytest.mark.parametrize("character", STEERING, ids=lambda c: f"U+{ord(c):04X}")
def test_what_steers_a_terminal_is_shown_as_an_escape(character: str) -> None:
    shown = safe_text(f"a{character}b")
    assert shown.isprintable()
    assert shown.startswith("a\\") and shown.endswith("b")


@given(st.text(st.characters(), max_size=40))
def test_nothing_that_steers_is_left(text: str) -> None:
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in safe_text(text))
    safe_text(text).encode("utf-8")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40))
def test_everything_else_stays(text: str) -> None:
    assert safe_text(text) == text


def test_bytes_of_a_name_that_are_not_utf8_are_shown() -> None:
    assert safe_text(b"caf\xe9.h5".decode("utf-8", "surrogateescape")) == "caf\\xe9.h5"
