from __future__ import annotations

from pathlib import Path

from photon_triage.core.engine.recovery import copy_of
from photon_triage.core.sources.common.names import calibration_name


def test_no_name_of_a_copy_says_that_it_is_a_dark_or_a_flat(tmp_path: Path) -> None:
    names = [copy_of(Path(f"/data/run_{number}.h5"), tmp_path).name for number in range(1000)]
    assert len(set(names)) == len(names)
    assert not any(map(calibration_name, names))


def test_a_copy_under_the_name_that_previous_versions_gave_it_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "dead-0a45def2.h5"
    copy.touch()
    assert copy_of(Path("/data/dead.h5"), tmp_path) == copy
