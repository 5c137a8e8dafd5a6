"""What the keys do about training, and what is said when a training ends."""

from __future__ import annotations

import sqlite3
from typing import Any

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.promotion import set_shadow
from photon_triage.core.session.trainings.trainings import Training
from photon_triage.tui.screens.main.triage import TriageScreen
from photon_triage.tui.screens.trainings_screen import TrainingScreen
from photon_triage.tui.snapshot.snapshot import ListSpec, Snapshot
from photon_triage.tui.terminal.text import duration

TOLD = {"done": "✓", "failed": "✗", "interrupted": "!"}


class Teaching(TriageScreen):
    """The screen of trainings, and the news of them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._last_states: dict[str, str] | None = None
        self._begun: set[str] = set()
        """The trainings that were begun on this screen."""

    def action_training(self) -> None:
        """The trainings of this session over the whole screen."""

        def closed(text: str | None) -> None:
            if text is not None:
                self._relist(ListSpec("disagree", "all", text))
                self._decisions.work_from("disagree")
                self.say("frames that changed sides between the two models, the largest differences first")

        self.app.push_screen(
            TrainingScreen(self.session, lambda: self.snapshot, lambda: self.threshold, self._begun.add), closed
        )

    def _hear_of_trainings(self, snapshot: Snapshot) -> None:
        """Say which trainings have ended since the last look."""
        states = {training.name: training.state for training in snapshot.trainings}
        before, self._last_states = self._last_states, dict(states)
        for training in snapshot.trainings if before is not None else ():
            if training.state in TOLD and (before or {}).get(training.name, training.state) != training.state:
                self._told(ending(training))
                if training.state == "done" and training.name in self._begun:
                    self.run_worker(lambda name=training.name: self._shadow(name), thread=True, group="shadow")

    def _shadow(self, name: str) -> None:
        """Have the engine score with a model that was trained here, so that it can be held against the one in use."""
        try:
            set_shadow(self.session, name)
        except (TriageError, OSError, sqlite3.Error) as error:
            self.app.call_from_thread(self.say, f"✗ {error}")


def ending(training: Training) -> str:
    """A line about a training that has ended."""
    told = f"{TOLD[training.state]} training {training.name} is {training.state}"
    if training.state != "done":
        return f"{told}: {training.message} · T shows it"
    took = f" after {duration(training.curve[-1].seconds)}" if training.curve else ""
    best = "" if training.best_f1 is None else f", highest F1 on held-out data {training.best_f1:.3f}"
    return f"{told}{took}{best} · T compares and promotes"
