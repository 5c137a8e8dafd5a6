from __future__ import annotations

from dataclasses import replace

import pytest

from photon_triage.core.frames import Geometry
from photon_triage.core.session.store.file_notes import geometry_notes, group_notes, group_reasons, ignored_note

from ..builders import file_row


def test_notes_that_are_alike_stand_together_with_the_range_of_their_numbers() -> None:
    notes = {
        "a": ("12 further scans in this file were not read", "transparency is passed over"),
        "b": ("3 further scans in this file were not read",),
        "c": ("12 further scans in this file were not read",),
    }
    groups = group_notes([replace(file_row(f"/{name}.h5", 1), notes=told) for name, told in notes.items()])
    assert [str(group) for group in groups] == [
        "3..12 further scans in this file were not read (3 files)",
        "transparency is passed over (/a.h5)",
    ]
    assert groups[0].as_json() == {"text": groups[0].text, "files": 3, "first": "/a.h5"}


def test_reasons_of_a_state_are_grouped_too() -> None:
    rows = [file_row(f"/{place}.h5", 1, status="unreadable", reason=f"frame {place} is damaged") for place in range(3)]
    assert [str(group) for group in group_reasons(rows, "unreadable")] == ["frame 0..2 is damaged (3 files)"]
    assert group_reasons(rows, "missing") == []


@pytest.mark.parametrize(
    ("file", "recipe", "notes"),
    [
        (Geometry(), Geometry(), []),
        (Geometry(beam_center_x=1.0, beam_center_y=2.0), Geometry(), []),
        (Geometry(), Geometry(beam_center_x=1.0, beam_center_y=2.0), ["beam centre taken from the recipe"]),
        (
            Geometry(beam_center_x=1.0),
            Geometry(9000.0, 0.1, beam_center_x=1.0, beam_center_y=2.0),
            ["photon energy, detector distance and beam centre taken from the recipe"],
        ),
        (
            Geometry(8000.0, 0.13),
            Geometry(9000.0, 0.13),
            ["photon energy 9000 eV of the recipe is not used: the file says 8000 eV"],
        ),
    ],
)
def test_what_a_recipe_adds_to_the_geometry_or_says_in_vain_is_noted(
    file: Geometry, recipe: Geometry, notes: list[str]
) -> None:
    assert geometry_notes(file, recipe) == notes


def test_ignored_files_are_counted_by_suffix_the_commonest_first() -> None:
    assert ignored_note({".log": 4, ".dat": 8}) == "files ignored: 12 (.dat 8, .log 4)"
    assert ignored_note({"": 1}) == "files ignored: 1 (without a suffix 1)"
    many = {f".{place}": 1 for place in range(8)}
    assert ignored_note(many) == "files ignored: 8 (.0 1, .1 1, .2 1, .3 1, .4 1, 3 more)"
    assert ignored_note({".log": 2, "folders": 3}) == "files ignored: 2 (.log 2); folders not searched: 3"
    assert ignored_note({"folders": 1}) == "folders not searched: 1"
    assert ignored_note({}) == ""
