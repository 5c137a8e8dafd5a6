"""The request of a screen to its session, and the frozen snapshot that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.rows import Counts
from photon_triage.core.session.store.runs import AXES, TIME, Bar, RunRow
from photon_triage.core.session.trainings.trainings import Training
from photon_triage.tui.snapshot.comparison_view import AuditView
from photon_triage.tui.snapshot.measured_rates import Measured

Ids = NDArray[np.int64]


NO_IDS: Ids = np.empty(0, dtype=np.int64)


SHOWN = ("hits", "all", "undecided", "flagged")


@dataclass(frozen=True, slots=True)
class ListSpec:
    """Which frames the list holds and in which order: one of QUEUES, one of SHOWN, and a filter's text."""

    order: str = "score"
    shown: str = "hits"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What the screen wants to know.

    live: the list follows the newest. threshold: one being tried. saves: decisions on disk so far.
    """

    spec: ListSpec = ListSpec()
    serial: int = 0
    """Raised whenever the list must be made anew."""
    live: bool = True
    threshold: float | None = None
    saves: int = 0
    runs: bool = False
    """Whether the table of runs is on the screen: it costs a pass over all frames."""
    axis: str = TIME
    """What to show the hit rate against."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The state of a session at one moment."""

    time: float
    state: EngineState = field(default_factory=EngineState)
    version: int = 0
    """Changes with whatever the engine commits."""
    started: bool = False
    """Whether an engine has ever written results here."""
    alive: bool = False
    silent_s: float = 0.0
    """Seconds for which an engine whose process is there has not answered; 0 while it does."""
    died: bool = False
    """Whether the engine's process has ended without saying so: killed, or a crash."""
    counts: Counts = field(default_factory=Counts)
    note: tuple[str, str] = ("", "")
    """The newest note: the path of its file, and the text."""
    history: Sequence[tuple[float, int, int]] = ()
    run: str = ""
    """The run of the file that changed last."""
    runs: Sequence[RunRow] = ()
    axis: str = TIME
    """What the hit rate is shown against."""
    axes: Sequence[str] = AXES
    """What it can be shown against."""
    bars: Sequence[Bar] = ()
    """The hit rate against `axis`, where that is not the time."""
    accepted_in_run: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[int, Label] = field(default_factory=dict)
    """Labels of frames that stand in results.db, by id."""
    flagged: frozenset[int] = frozenset()
    conflicts: frozenset[int] = frozenset()
    changed: Mapping[int, Label] = field(default_factory=dict)
    """Labels of frames that have changed since, by id."""
    lapsed: int = 0
    """Number of labels of frames that have changed since."""
    verdicts: Mapping[str, int] = field(default_factory=dict)
    undecided: int = 0
    labelled: bool = True
    """Whether the labels are in it; they are not in the first look at a session that has many."""
    damaged: int = 0
    saved_threshold: float = 0.5
    selected: int = 0
    measured: Measured | None = None
    table: Sequence[Measured] = ()
    audit: AuditView = field(default_factory=AuditView)
    needed: int | None = None
    """How many more audited frames precision and recall need to be known well enough."""
    ids: Ids | None = None
    """The list in its new order, or None where the one on the screen still holds."""
    serial: int = 0
    saves: int = 0
    problem: str = ""
    trainings: Sequence[Training] = ()
    """Those at work first."""
