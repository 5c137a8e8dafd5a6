"""The audit: frames drawn at random, and the threshold that is tried before it is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding
from textual.message import Message

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.tui.screens.main.decisions import Decisions
from photon_triage.tui.screens.main.list_controller import ListController
from photon_triage.tui.screens.main.triage import Controller, Triage
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.widgets.metrics_pane import trial_text
from photon_triage.tui.widgets.status import StatusLine

THRESHOLD_STEP = 0.01
WHILE_TRYING = ("keep_threshold", "drop_threshold")
TAKEN = ("zoom", "undo")
"""Actions whose keys keep and drop a threshold while one is tried."""
DRAWN_AT_ONCE = 100
"""Frames that one key draws for the audit."""


class AuditController(Controller):
    """Draws frames for the audit, and tries thresholds against the labels; nothing is written before `keep`."""

    KEYS: ClassVar[Mapping[str, Sequence[Binding]]] = {
        "While a threshold is tried": [
            Binding("enter", "keep_threshold", "Keep", id="threshold_keep", tooltip="Keep the threshold that is tried"),
            Binding(
                "u,backspace", "drop_threshold", "Drop", id="threshold_drop", tooltip="Go back to the threshold in use"
            ),
        ],
        "List, threshold, export": [
            Binding(
                "left_square_bracket",
                "threshold(-1)",
                "Threshold",
                id="threshold_down",
                tooltip="Try a threshold lower by 0.01: list, precision, recall; then enter keeps it",
                key_display="[ ]",
            ),
            Binding(
                "right_square_bracket",
                "threshold(1)",
                "Threshold",
                id="threshold_up",
                show=False,
                tooltip="Try a threshold higher by 0.01: list, precision, recall; then enter keeps it",
            ),
            Binding(
                "d",
                "draw",
                "Draw",
                id="draw",
                show=False,
                tooltip="Draw frames at random for the audit: its queue, then d",
            ),
        ],
    }

    class FramesDrawn(Message):
        """Frames have been drawn for the audit, `count` in all, or `problem` says why not."""

        def __init__(self, count: int, problem: str = "") -> None:
            super().__init__()
            self.count, self.problem = count, problem

    def __init__(self, triage: Triage, listed: ListController, decisions: Decisions) -> None:
        super().__init__(triage)
        self._listed, self._decisions = listed, decisions
        self._trial_told = ""

    def allows(self, action: str) -> bool:
        """Whether an action can be taken now: a trial has keys of its own, which belong to other actions otherwise."""
        trying = self.triage.trial is not None
        return trying if action in WHILE_TRYING else not (trying and action in TAKEN)

    # The threshold

    def action_threshold(self, step: int) -> None:
        """Try another threshold."""
        begins = self.triage.trial is None
        self.triage.trial = min(max(round(self.triage.threshold + step * THRESHOLD_STEP, 2), 0.0), 1.0)
        self.triage.say(f"trying {self.triage.trial:.2f} …")
        self._show_threshold(begins)

    def action_keep_threshold(self) -> None:
        """Write the threshold that is tried down."""
        value = self.triage.trial
        if self.triage.may_write() and value is not None:
            self._decisions.set_threshold(value, lambda: f"threshold {value:.2f}")

    def action_drop_threshold(self) -> None:
        """Go back to the threshold in use."""
        self.triage.trial = None
        self.triage.say(f"the threshold stays {self.triage.threshold:.2f}")
        self._show_threshold(True)

    def _show_threshold(self, keys_change: bool) -> None:
        triage = self.triage
        self._trial_told = ""
        triage.screen.query_one(StatusLine).show(triage.snapshot, triage.threshold, paused=triage.paused)
        if keys_change:
            triage.screen.refresh_bindings()
        triage.refresh()

    def settle_threshold(self, snapshot: Snapshot) -> None:
        """Say what the threshold that is tried would do; it is no trial any more once it is the one in use."""
        triage = self.triage
        if triage.trial is None:
            return
        if triage.trial == snapshot.saved_threshold:
            triage.trial = None
            triage.screen.refresh_bindings()
        elif snapshot.measured and snapshot.measured.threshold == triage.trial:
            text = trial_text(snapshot)
            if text != self._trial_told:
                self._trial_told = text
                triage.say(text)

    # The draw

    def draw_command(self) -> Iterable[SystemCommand]:
        """List the draw for the palette."""
        yield SystemCommand("Audit: draw frames", f"{DRAWN_AT_ONCE} more, at random", self.action_draw)

    def action_draw(self) -> None:
        """Draw frames for the audit, once those drawn before are decided."""
        triage = self.triage
        elsewhere = triage.spec.order != AUDIT
        if elsewhere:
            self._listed.take_queue(AUDIT)
        waiting = triage.snapshot.audit.waiting
        if waiting:
            triage.say(f"{waiting:,} drawn {triage.unit} wait for a verdict: a accepts, x rejects, space skips")
        elif elsewhere and triage.snapshot.audit.drawn:
            triage.say(f"all drawn {triage.unit} are decided · d draws {DRAWN_AT_ONCE} more")
        else:
            triage.say(f"drawing {triage.unit} …")
            threshold = triage.snapshot.saved_threshold
            triage.screen.run_worker(lambda: self._draw(threshold), thread=True, group="draw", exclusive=True)

    def _draw(self, threshold: float) -> None:
        session = self.triage.session
        try:
            drawn = draw_more(session, session.labels(), threshold, DRAWN_AT_ONCE)
        except (TriageError, OSError) as error:
            self.triage.screen.post_message(self.FramesDrawn(0, str(error)))
        else:
            self.triage.screen.post_message(self.FramesDrawn(len(drawn.frames)))

    def show_draw(self, message: FramesDrawn) -> None:
        """List the frames that have been drawn, or say why there are none."""
        triage = self.triage
        if message.problem:
            triage.say(f"✗ {message.problem}")
            return
        triage.show_other_list(replace(triage.spec, order=AUDIT))
        triage.say(f"✓ {message.count:,} {triage.unit} are drawn at random: a accepts, x rejects, space skips")
