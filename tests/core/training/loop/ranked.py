"""What each of several processes does in test_ranks.py: `python ranked.py PART FOLDER`, with torchrun's environment."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

sys.path.append(str(Path(__file__).parents[4]))

from photon_triage.core.training.loop.distributed import is_first, joined, rank
from photon_triage.core.training.loop.progress import Progress
from photon_triage.core.training.loop.resume_state import Keeper
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, train
from photon_triage.core.training.tasks.profiles.profile_learner import ProfilePlan, train_classifier
from photon_triage.core.training.tasks.segmentation.segmentation import SegmentationPlan, train_segmenter
from tests.core.training.tasks.detector.test_detector_job import CPU, detector, disc_examples, preparation
from tests.core.training.tasks.profiles.test_profile_learner import classifier, profiles
from tests.core.training.tasks.segmentation.test_segmentation import mapped, segmenter

BATCHES = 8


def with_norm(keeper: Keeper | None = None) -> tuple[nn.Module, Iterator[Progress]]:
    """A detector whose batch-norms learn."""
    torch.manual_seed(0)
    made = detector()
    plan = TrainingPlan(BATCHES, 8, check_every=4)
    return made.network, train(made, preparation(), disc_examples(30, 1), plan, CPU, disc_examples(20, 3), keeper)


def with_frozen_norm() -> tuple[nn.Module, Iterator[Progress]]:
    """A detector whose batch-norms keep their statistics."""
    torch.manual_seed(0)
    made = detector()
    plan = TrainingPlan(BATCHES, 8, rate=1e-3, frozen_norm=True)
    return made.network, train(made, preparation(), disc_examples(30, 1), plan, CPU)


def without_norm() -> tuple[nn.Module, Iterator[Progress]]:
    """A segmenter, whose loss is a mean over pixels that are not void."""
    images = [mapped(seed) for seed in (1, 2, 3)]
    made = segmenter(images)
    return made.network, train_segmenter(made, images, images[-1:], SegmentationPlan(BATCHES, 2, 1e-2, 64), CPU)


def of_profiles() -> tuple[nn.Module, Iterator[Progress]]:
    """A network on radial profiles, whose norms are along one axis."""
    made = classifier()
    return made.network, train_classifier(made, profiles(40, 1), ProfilePlan(BATCHES, 8, 1e-2), CPU)


TRAININGS = {
    "with_norm": with_norm,
    "with_frozen_norm": with_frozen_norm,
    "without_norm": without_norm,
    "of_profiles": of_profiles,
}


def main(part: str, folder: Path) -> None:
    with joined("cpu"):
        if part == "killed":
            for step in with_norm(Keeper(folder / "state.safetensors", {}, every_s=0))[1]:
                if step.done == 3 and rank() == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        for name, begin in TRAININGS.items():
            network, steps = begin()
            losses = [step.loss for step in steps]
            if is_first():
                facts = {"losses": torch.tensor(losses, dtype=torch.float64)}
                weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
                save_file(weights | facts, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
