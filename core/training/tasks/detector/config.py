"""What `train` is asked for, of a detector."""

from __future__ import annotations

from dataclasses import dataclass, field

from photon_triage.core.session.session import Session
from photon_triage.core.training.data.augment import DEFAULT_AUGMENTATIONS
from photon_triage.core.training.data.preselecting import How
from photon_triage.core.training.data.simulated import FRAMES
from photon_triage.core.training.data.sources import DEFAULT_SOURCES
from photon_triage.core.training.loop.checkpoints import KEPT
from photon_triage.core.training.tasks.detector.batch_sampler import Balance


@dataclass(frozen=True)
class TrainingJob:
    """What `train` is asked for; see the command's help.

    cfg: of a new network, which begins with `init` as far as that fits, else at random. base: a model to continue; with
    neither the one in use is. simulated: frames to simulate where `sources` has "simulated".
    """

    session: Session
    name: str | None = None
    base: str | None = None
    cfg: str | None = None
    iterations: int | None = None
    rate: float | None = None
    validation: Session | None = None
    test: Session | None = None
    seed: int = 0
    device: str | None = None
    command: str = ""
    note: str = ""
    anew: bool = False
    init: str | None = None
    epochs: float | None = None
    sources: tuple[str, ...] = DEFAULT_SOURCES
    simulated: int = FRAMES
    augment: tuple[str, ...] = DEFAULT_AUGMENTATIONS
    balance: Balance = field(default_factory=Balance)
    negatives: How = "random"
    freeze: str | None = None
    batch: int | None = None
    checkpoint_every: int | None = None
    checkpoints_kept: int = KEPT
