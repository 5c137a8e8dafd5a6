"""Segmentation and the search for candidates, from TIFF files to results.db."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from photon_triage.core.engine.process import start_engine, stop_engine
from photon_triage.core.session.decisions.commands import ask_to_use
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameRow
from photon_triage.models.common.checkpoint import save
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.lenet import LeNetPatch
from tests.waiting import wait_until

RECIPE = """
name = "search"
[[stages]]
kind = "segment"
model = "wall"
[[stages]]
kind = "patches"
model = "blobs"
within = "wall"
min_distance = 8
"""

GREY = {"normalise": "training", "mean": 0.0, "deviation": 1.0}
SPOTS = ((20, 30), (50, 12))
"""Rows and columns of bright 3 x 3 blobs: the first in the left half, the second in it, too."""


def write_frames(folder: Path, count: int) -> None:
    """Frames whose left half is bright ("wall"), with two brighter blobs on it and one outside."""
    folder.mkdir()
    for index in range(count):
        frame = np.zeros((64, 96), np.float32)
        frame[:, :48] = 1.0
        for row, column in (*SPOTS, (40, 80)):
            frame[row - 1 : row + 2, column - 1 : column + 2] += 4
        tifffile.imwrite(folder / f"section_{index:02d}.tif", frame)


def add_wall(session: Session, name: str = "wall", of: str = "wall") -> None:
    """A network that calls pixels above 0.5 "wall", or by the name of another class."""
    network = MSDNet(depth=1, out_channels=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        # The 1x1 reads the input and the one layer: logit of "wall" = 20 (x - 0.5).
        named = dict(network.named_parameters())
        last_weight = next(p for p in named.values() if p.shape[0] == 2 and p.ndim > 1)
        last_bias = next(p for p in reversed(list(named.values())) if p.shape == (2,))
        last_weight.view(2, -1)[1, 0] = 20
        last_bias[1] = -10
    save(
        session.models_path / f"{name}.safetensors",
        network,
        {"name": name, "classes": ["background", of], "input": GREY},
    )


def add_finder(session: Session, name: str, strength: float) -> None:
    """A network whose log odds rise with the brightness at the middle of the patch."""
    network = LeNetPatch(patch=9, widths=(1,), kernels=(3,), hidden=())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        convolution = next(p for p in network.parameters() if p.ndim == 4)
        convolution[0, 0] = 1 / 9
        weight = [p for p in network.parameters() if p.ndim == 2][-1]
        weight[1] = strength / weight.shape[1]
        bias = list(network.parameters())[-1]
        bias[1] = -3 * strength / 2
    save(
        session.models_path / f"{name}.safetensors",
        network,
        {"name": name, "classes": ["other", "blob"], "input": GREY},
    )


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session.create(tmp_path / "session", RECIPE, "search")
    add_wall(made)
    add_finder(made, "blobs", 8.0)
    write_frames(tmp_path / "data", 3)
    yield made
    stop_engine(made)


def candidates(session: Session) -> list[FrameRow]:
    reader = session.results()
    try:
        return list(reader.frames("candidates").select())
    finally:
        reader.close()


def test_masks_and_candidates_of_every_frame_stand_in_the_results(session: Session, tmp_path: Path) -> None:
    assert start_engine(session, [tmp_path / "data"], once=True, patience=1).wait(60) == 0
    reader = session.results()
    rows = list(reader.all_frames())
    assert len(rows) == 3
    for row in rows:
        mask = reader.mask(row.id)
        assert mask is not None and mask.classes == ("background", "wall")
        assert mask.values[:, :48].all() and not mask.values[10:30, 50:].any()
        assert row.measures["foreground"] == pytest.approx(0.5, abs=0.01)
        found = reader.candidates(row.id)
        for spot in SPOTS:
            assert any(abs(each.y - spot[0]) <= 2 and abs(each.x - spot[1]) <= 2 for each in found), found
        assert all(each.x <= 48 or abs(each.y - 40) <= 3 for each in found), "nothing is looked for off the wall"
    assert reader.scoring_models() == {"wall + blobs": 3}
    reader.close()


def test_a_running_engine_takes_another_finder_and_searches_again(session: Session, tmp_path: Path) -> None:
    add_finder(session, "timid", 0.4)
    engine = start_engine(session, [tmp_path / "data"])
    try:
        wait_until(lambda: session.results_path.exists() and len({row.key.frame for row in candidates(session)}) == 3)
        before = max(row.score or 0 for row in candidates(session))
        ask_to_use(session.journal(), "timid")
        wait_until(lambda: (found := candidates(session)) != [] and all((row.score or 0) < before for row in found))
        assert session.engine_state().models == {"segment": "wall", "patches": "timid"}
    finally:
        stop_engine(session)
        engine.wait(10)


def test_a_model_of_another_kind_is_refused_and_the_run_goes_on(session: Session, tmp_path: Path) -> None:
    text = "[net]\nwidth=32\nheight=32\nchannels=1\n[convolutional]\nfilters=6\nsize=1\nstride=1\nactivation=linear\n"
    save(session.models_path / "boxes.safetensors", Darknet.from_cfg(text), {"name": "boxes"})
    engine = start_engine(session, [tmp_path / "data"])
    try:
        ask_to_use(session.journal(), "boxes")
        wait_until(lambda: "boxes not used" in session.engine_state().message)
        assert "no stage for it" in session.engine_state().message
        assert engine.poll() is None
    finally:
        stop_engine(session)
        engine.wait(10)


def test_a_segmenter_without_the_class_to_search_in_is_refused_and_the_run_goes_on(
    session: Session, tmp_path: Path
) -> None:
    add_wall(session, "other", of="ice")
    engine = start_engine(session, [tmp_path / "data"])
    try:
        ask_to_use(session.journal(), "other")
        wait_until(lambda: "other not used" in session.engine_state().message)
        assert "within 'wall'" in session.engine_state().message
        assert session.engine_state().models["segment"] == "wall" and engine.poll() is None
    finally:
        stop_engine(session)
        engine.wait(10)
