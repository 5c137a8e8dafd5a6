from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.prepare import preparation_for
from photon_triage.core.recipe import recipe_text
from photon_triage.core.simulate.spi import SpiRun
from photon_triage.core.training.data.simulated_examples import SEED_OFFSET, simulated_examples
from photon_triage.core.training.loop.runs import TrainingRun

from ..builders import new_session


def run_in(folder: Path, *, goes_on: bool = False) -> TrainingRun:
    folder.mkdir(exist_ok=True)
    run = TrainingRun(folder, {})
    run.goes_on = goes_on
    return run


def test_simulated_frames_are_those_that_pass_with_their_truth(tmp_path: Path) -> None:
    session = new_session(tmp_path / "session", "spi")
    preparation = preparation_for(session.recipe(), (128, 256), 1)
    found = simulated_examples(session, preparation, run_in(tmp_path / "run"), 40, 3)
    assert 5 < len(found) < 40 and found.counts.shape[1:] == (123, 240) and found.counts.dtype == np.int16
    assert np.array_equal(found.positive, found.categories == "single") and "blank" not in found.categories
    assert found.centers is not None and np.array_equal(found.centers[0], [120, -4])
    run = SpiRun(SEED_OFFSET + 3, 1, blanks=0.0, singles=0.25)
    frame, truth = run.frame(found.keys[0].index)
    assert truth.category == found.categories[0]
    assert np.array_equal(found.counts[0], (frame * (run.bad == 0))[:123, 392:632])
    again = simulated_examples(session, preparation, run_in(tmp_path / "run", goes_on=True), 40, 3)
    assert again.keys == found.keys and np.array_equal(again.counts, found.counts), "kept while the training lasts"


def test_another_detector_cannot_be_simulated(tmp_path: Path) -> None:
    text = recipe_text("spi").replace("beam_center_y = -4.0", "beam_center_y = 300.0")
    session = new_session(tmp_path / "session", text)
    preparation = preparation_for(session.recipe(), (128, 256), 1)
    with pytest.raises(TrainingError, match=r"beam centre \(512\.0, 300\.0\)") as caught:
        simulated_examples(session, preparation, run_in(tmp_path / "run"), 40, 3)
    assert "--from" in str(caught.value.hint)
