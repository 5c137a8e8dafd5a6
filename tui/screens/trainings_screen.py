"""The trainings of a session: how they go, pause and stop them, begin one, hold its model against the one in use."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.trainings import AT_WORK, PAUSE, RESUMABLE, STOP, Training, wish
from photon_triage.tui.screens.begin import BeginScreen, TrainingWish
from photon_triage.tui.screens.help import HELP, explain
from photon_triage.tui.screens.model_comparison import Promoting
from photon_triage.tui.snapshot.snapshot import Snapshot
from photon_triage.tui.snapshot.training_process import begin, resume
from photon_triage.tui.widgets.keys import KeyFooter
from photon_triage.tui.widgets.message import MessageLine
from photon_triage.tui.widgets.status import StatusLine
from photon_triage.tui.widgets.trainings import CurvePlot, TrainingsPane
from photon_triage.tui.widgets.verdict import VerdictPane

REFRESH_S = 0.5


class TrainingScreen(Promoting):
    """Trainings above the curves of one, and its model beside the one in use; ends with a filter to walk through.

    snapshot: asks the main screen for the newest one. begun: is told the name of a training begun here.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b,enter", "begin", "Begin", tooltip="Begin a training: from what, of which model, by which name"),
        Binding("space", "pause", "Pause", tooltip="Pause, go on, or resume an interrupted training"),
        Binding("x", "stop", "Stop", tooltip="Stop after this batch; space goes on later"),
        Binding("p", "promote", "Promote", tooltip="Use the new model, where it is better than the one in use"),
        Binding("T,q,escape", "close", "Back", tooltip="Back to the list; trainings go on"),
        HELP,
        Binding("u,backspace", "rollback", "Roll back", tooltip="Use the model again that was in use before"),
        Binding("v", "changed", "Changed", tooltip="List the frames that changed sides, the largest differences first"),
        Binding("w", "shadow", "Shadow", tooltip="Have the engine score with the new model too, or no longer"),
        Binding("j,down", "move(1)", "Down", show=False, tooltip="Next training"),
        Binding("k,up", "move(-1)", "Up", show=False, tooltip="Training before"),
    ]

    def __init__(
        self,
        session: Session,
        snapshot: Callable[[], Snapshot],
        threshold: Callable[[], float],
        begun: Callable[[str], None],
    ) -> None:
        super().__init__(session)
        self._snapshot, self._threshold, self._begun = snapshot, threshold, begun
        self._loss = CurvePlot("Loss", id="loss")
        self._f1 = CurvePlot("F1 on held-out data", whole=True, id="f1")

    def compose(self) -> ComposeResult:
        """The list, two curves, the verdict."""
        yield StatusLine(id="status")
        yield self._list
        with Horizontal(id="curves"):
            yield self._loss
            yield self._f1
        yield self._verdict
        yield MessageLine(id="message")
        yield KeyFooter(id="keys")

    def on_mount(self) -> None:
        """Follow the main screen."""
        self.set_interval(REFRESH_S, self._follow)
        self._list.show(self._snapshot().trainings)
        self.call_after_refresh(self._follow)

    # What is shown

    def _follow(self) -> None:
        snapshot = self._snapshot()
        self.query_one(StatusLine).mark = "READ-ONLY" if self._session.read_only else ""
        self.query_one(StatusLine).show(snapshot, self._threshold(), paused=False)
        self.query_one(MessageLine).show(snapshot)
        self._list.show(snapshot.trainings)
        self._show_chosen()

    def _show_chosen(self) -> None:
        chosen = self._list.selected
        curve = chosen.curve if chosen else ()
        planned = chosen.planned if chosen else 0
        self._loss.show([(point.done, point.loss) for point in curve], planned, "no batch yet")
        checks = [(float(point.done), point.f1) for point in curve if point.f1 is not None]
        self._f1.show(checks, planned, "no check yet" if chosen and chosen.state in AT_WORK else "no checks")
        if chosen is None:
            self._verdict.tell("Model", self._refusal or "b begins a training on the labels of this session")
        elif chosen.state == "done":
            self._show_verdict(chosen)
        else:
            self.remove_class("-judged")
            self._verdict.tell(chosen.name, self._refusal or told_of(chosen))

    # What is done

    def action_move(self, step: int) -> None:
        """Look at another training."""
        self._refusal = ""
        self._list.move(step)
        self._show_chosen()

    def action_begin(self) -> None:
        """Ask what to train, and begin it."""

        def chosen(wished: TrainingWish | None) -> None:
            if wished is not None:
                self._begun(wished.name)
                self.say(f"{wished.name}: the training process starts …")
                self._list.take(wished.name)
                told = f"✓ {wished.name} trains beside the engine, also when the screen is left"
                self._do(lambda: begin(self._session, wished.name, wished.base, wished.more), told)

        if self._may_write():
            self.app.push_screen(BeginScreen(self._session), chosen)

    def action_pause(self) -> None:
        """Pause what runs, go on with what does not."""
        chosen = self._list.selected
        if chosen is None or not self._may_write():
            return
        name, state = chosen.name, chosen.state
        if state in ("paused", "pausing"):
            self._do(lambda: wish(chosen, PAUSE, holds=False), f"✓ {name} goes on")
        elif state in RESUMABLE:
            self.say(f"{name}: the training process starts …")
            self._begun(name)
            self._do(lambda: resume(chosen), f"✓ {name} goes on where it was")
        elif state in AT_WORK:
            self._do(lambda: wish(chosen, PAUSE), f"{name} pauses after this batch · space goes on")
        else:
            self.say(f"{name} is {state}")

    def action_stop(self) -> None:
        """Stop a training, its state kept."""
        chosen = self._list.selected
        if chosen is None or not self._may_write():
            return
        if chosen.state in AT_WORK:
            self._do(lambda: wish(chosen, STOP), f"{chosen.name} stops after this batch · space goes on later")
        else:
            self.say(f"{chosen.name} is {chosen.state}: there is nothing to stop")

    def action_close(self) -> None:
        """Back to the list."""
        self.dismiss(None)

    def action_help(self) -> None:
        """What the keys do."""
        explain(self, "Trainings", TrainingsPane.help_text, VerdictPane.help_text)


def told_of(training: Training) -> str:
    """What is to be said of a training that has made no model yet."""
    match training.state:
        case "starting" | "preparing":
            return "the process reads the frames to learn from; batches come next"
        case "paused":
            return "paused: the process waits without work · space goes on"
        case "scoring":
            return "all batches are done; old and new model are evaluated on what was held out of training"
        case "interrupted":
            return f"{training.message or 'interrupted'} · space goes on"
        case "failed":
            return training.message
        case "pausing" | "stopping":
            return f"{training.state} after the batch it is at"
    return "the model is held against the one in use once it is trained"
