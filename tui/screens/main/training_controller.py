"""Trainings: their screen, and what is said when one ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding
from textual.message import Message

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.promotion import set_shadow
from photon_triage.core.session.trainings.trainings import Training
from photon_triage.tui.screens.main.decisions import Decisions
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.screens.trainings_screen import TrainingScreen
from photon_triage.tui.snapshot.snapshot import ListSpec, Snapshot
from photon_triage.tui.terminal.text import duration

TOLD = {"done": "✓", "failed": "✗", "interrupted": "!"}


class TrainingController(Controller):
    """Opens the screen of trainings, and follows their states."""

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "Learn": [
            Binding(
                "T", "training", "Train", id="training", tooltip="Trainings: begin, follow, pause, compare and promote"
            )
        ]
    }

    class ShadowRefused(Message):
        """A model that was trained here cannot be scored with beside the one in use."""

        def __init__(self, problem: str) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, triage: Triage, decisions: Decisions) -> None:
        super().__init__(triage)
        self._decisions = decisions
        self._last_states: dict[str, str] | None = None
        self.begun: set[str] = set()
        """The trainings that were begun on this screen."""

    def action_training(self) -> None:
        """The trainings of this session over the whole screen."""
        triage = self.triage

        def closed(text: str | None) -> None:
            if text is not None:
                triage.show_other_list(ListSpec("disagree", "all", text))
                self._decisions.work_from("disagree")
                triage.say("frames that changed sides between the two models, the largest differences first")

        triage.screen.app.push_screen(
            TrainingScreen(triage.session, lambda: triage.snapshot, lambda: triage.threshold, self.begun.add), closed
        )

    def follow(self, snapshot: Snapshot) -> None:
        """Say which trainings have ended since the last look."""
        states = {training.name: training.state for training in snapshot.trainings}
        before, self._last_states = self._last_states, dict(states)
        for training in snapshot.trainings if before is not None else ():
            if training.state in TOLD and (before or {}).get(training.name, training.state) != training.state:
                self.triage.report(ending(training))
                if training.state == "done" and training.name in self.begun:
                    self.triage.screen.run_worker(
                        lambda name=training.name: self._shadow(name), thread=True, group="shadow"
                    )

    def _shadow(self, name: str) -> None:
        """Have the engine score with a model that was trained here, so that it can be held against the one in use."""
        try:
            set_shadow(self.triage.session, name)
        except (TriageError, OSError, sqlite3.Error) as error:
            self.triage.screen.post_message(self.ShadowRefused(str(error)))


def ending(training: Training) -> str:
    """A line about a training that has ended."""
    told = f"{TOLD[training.state]} training {training.name} is {training.state}"
    if training.state != "done":
        return f"{told}: {training.message} · T shows it"
    took = f" after {duration(training.curve[-1].seconds)}" if training.curve else ""
    best = "" if training.best_f1 is None else f", highest F1 on held-out data {training.best_f1:.3f}"
    return f"{told}{took}{best} · T compares and promotes"
