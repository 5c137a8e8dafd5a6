"""A session of real small frames of known kinds, and a small detector with random weights in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from photon_triage.core.frames import FrameKey
from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.training.loop.checkpoints import register
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.radial_net import RadialNet
from photon_triage.models.nets.unet import UNet

from ...builders.detector_files import write_cxi
from ..session.builders import DATASET, file_row
from ..training.tasks.detector.test_detector_job import CFG, RECIPE

Own = TypeVar("Own", bound=MSDNet | UNet | LeNetPatch | RadialNet)

SPOTS = {0: [(24, 32)], 1: [(10, 12), (10, 52), (38, 12), (38, 52)], 2: [(24, 10), (24, 54)]}
"""Where the light is, by kind: (row, column) of discs."""
LOCATED = (
    RECIPE
    + """[geometry]
photon_energy_ev = 1700
detector_distance = 0.13
pixel_size = 75e-6
beam_center_x = 32
beam_center_y = 24
"""
)
"""The recipe with all that is to be known of where the detector stands."""
ODD = 17
"""The index of the one frame that is like no other: all lit."""


def kind_frames(count: int, seed: int = 0) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Frames (count, 48, 64) of the kinds above, and which; frame ODD is of the kind 3."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(np.arange(count) % len(SPOTS))
    y, x = np.mgrid[:48, :64]
    rate = np.full((count, 48, 64), 0.1)
    for index, kind in enumerate(kinds.tolist()):
        for row, column in SPOTS[kind]:
            rate[index] += 30 / len(SPOTS[kind]) * ((y - row) ** 2 + (x - column) ** 2 < 64)
    if count > ODD:
        rate[ODD], kinds[ODD] = 10, 3
    return rng.poisson(rate).astype(np.int16), kinds


def kind_session(folder: Path, count: int = 60, misses: int = 5) -> Session:
    """A session of one file whose last frames do not reach the network, with the model "small"."""
    session = Session.create(folder / "session", recipe_text_of(RECIPE), "kinds")
    write_cxi(folder / "run.cxi", kind_frames(count)[0])
    add_file(session, folder / "run.cxi", count, misses)
    torch.manual_seed(0)
    register(session.models_path, "small", Darknet.from_cfg(CFG), {"classes": ["single"]})
    return session


def register_own(session: Session, network: Own) -> Own:
    """A network of a session's own, under the name "own"."""
    facts = {"architecture": network.architecture, "classes": ["other", "object"]}
    register(session.models_path, "own", network, facts)
    network.eval()
    return network


def recipe_text_of(recipe: str) -> str:
    """A recipe's text, or that of a shipped one's name."""
    return recipe if "\n" in recipe else recipe_text(recipe)


def add_file(session: Session, path: Path, count: int, misses: int = 0) -> None:
    """Record a file's frames: all passed all stages but the last `misses`."""
    writer = ResultsWriter(session.results_path)
    file_id = writer.put_file(file_row(str(path), count, height=48, width=64))
    results = [FrameResult(index, int(index < count - misses), index < count - misses) for index in range(count)]
    writer.put_frames(file_id, results, now=100.0)
    writer.close()


def key(folder: Path, index: int) -> FrameKey:
    """The key of a frame of the session's file."""
    return FrameKey(str(folder / "run.cxi"), DATASET, index)
