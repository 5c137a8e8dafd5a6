"""A trained model on the screen: held against the one in use, promoted, taken back, set to score in the shadow."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from textual.message import Message
from textual.screen import Screen

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.promotion import promote, rollback, set_shadow
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import Training
from photon_triage.tui.snapshot.comparison_view import ComparisonView, compared
from photon_triage.tui.snapshot.measured_rates import REST_FACTOR
from photon_triage.tui.widgets.message import READ_ONLY, MessageLine
from photon_triage.tui.widgets.trainings import TrainingsPane
from photon_triage.tui.widgets.verdict import VerdictPane

JUDGE_EVERY_S = 5.0
REFUSED = "✗"


class Promoting(Screen[str | None]):
    """The actions on the model of the training under the cursor."""

    class ModelCompared(Message):
        """A model has been held against the one in use."""

        def __init__(self, comparison: ComparisonView, seconds: float) -> None:
            super().__init__()
            self.comparison, self.seconds = comparison, seconds

    class Done(Message):
        """A wish was carried out, or why not."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._list = TrainingsPane("Trainings", id="trainings")
        self._verdict = VerdictPane("Model", id="verdict")
        self._comparison: ComparisonView | None = None
        self._comparing, self._compare_next = False, 0.0
        self._refusal = ""
        """Why the last wish was not carried out, until the next key."""

    def say(self, text: str) -> None:
        """Write the line of messages."""
        self.query_one(MessageLine).say(text)

    def _show_verdict(self, chosen: Training) -> None:
        """Show how the model of a training compares, and look again every so often."""
        shown = self._for_chosen()
        self.set_class(shown is not None and shown.verdict is not None, "-judged")
        if self._refusal:
            self._verdict.tell(chosen.name, self._refusal)
        elif shown is None:
            self._verdict.tell(chosen.name, "holding the model against the one in use …")
        elif shown.verdict is None:
            self._verdict.tell(chosen.name, shown.problem)
        else:
            self._verdict.show(shown.verdict, shown.note)
        if not self._comparing and (shown is None or time.monotonic() >= self._compare_next):
            self._comparing = True
            self.run_worker(lambda: self._compare(chosen.name), thread=True, group="compare")

    def _compare(self, name: str) -> None:
        began = time.monotonic()
        comparison = compared(self._session, name)
        self.post_message(self.ModelCompared(comparison, time.monotonic() - began))

    def on_promoting_model_compared(self, message: ModelCompared) -> None:
        """Take how a model compares; ask again no sooner than in proportion to what it cost."""
        self._comparing, self._comparison = False, message.comparison
        self._compare_next = time.monotonic() + max(JUDGE_EVERY_S, REST_FACTOR * message.seconds)
        if (chosen := self._list.selected) is not None and chosen.state == "done":
            self._show_verdict(chosen)

    def action_promote(self) -> None:
        """Use the new model, where the verdict is for it."""
        comparison = self._for_chosen()
        if comparison is None or comparison.verdict is None:
            self.say("there is no verdict on this one yet")
        elif comparison.in_use:
            self.say(f"{comparison.model} is in use · u rolls back")
        elif self._may_write():
            verdict = comparison.verdict
            told = f"✓ {verdict.new} is in use from the next batch on · u rolls back"
            self._do(lambda: promote(self._session, verdict), told)

    def action_rollback(self) -> None:
        """Use the model again that was in use before the last promotion."""
        if self._may_write():

            def back() -> str:
                last = rollback(self._session)
                return f"✓ {last.over} is in use again in place of {last.model}"

            self._do(back, "")

    def action_shadow(self) -> None:
        """Have the engine score with the chosen model too, or with none."""
        chosen = self._list.selected
        if chosen is None or chosen.state != "done":
            self.say("only a trained model can score in the shadow")
        elif self._may_write():
            comparison = self._for_chosen()
            if comparison is not None and comparison.in_use:
                self.say(f"{chosen.name} is in use")
            elif comparison is not None and comparison.shadow == chosen.name:
                self._do(lambda: set_shadow(self._session, None), f"{chosen.name} scores no longer in the shadow")
            else:
                told = f"✓ {chosen.name} scores in the shadow: labelled frames and new ones, while nothing else waits"
                self._do(lambda: set_shadow(self._session, chosen.name), told)

    def action_changed(self) -> None:
        """Leave for the list of the frames that changed sides."""
        comparison = self._for_chosen()
        if comparison is None or comparison.verdict is None:
            self.say("there is no verdict on this one yet")
        elif not (comparison.verdict.gained or comparison.verdict.lost):
            self.say(f"no frame changed sides of {comparison.verdict.compared:,} that both have scored")
        else:
            self.dismiss(comparison.filter)

    def _for_chosen(self) -> ComparisonView | None:
        chosen = self._list.selected
        known = self._comparison
        return known if chosen and known and known.model == chosen.name and chosen.state == "done" else None

    def _may_write(self) -> bool:
        if self._session.read_only:
            self.say(READ_ONLY)
        return not self._session.read_only

    def _do(self, act: Callable[[], object], told: str) -> None:
        """Carry out a wish in a thread; say how it came out."""
        self._refusal = ""

        def carried_out() -> None:
            try:
                found = act()
                text = found if isinstance(found, str) else told
            except (TriageError, OSError, sqlite3.Error) as error:
                text = f"{REFUSED} {error}"
            self.post_message(self.Done(text))

        self.run_worker(carried_out, thread=True, group="wishes")

    def on_promoting_done(self, message: Done) -> None:
        """Say it, and look again soon; a refusal is longer than a line."""
        self.say(message.text)
        self._refusal = message.text if message.text.startswith(REFUSED) else ""
        self._compare_next = 0.0
