"""What a training would learn from, which model it continues, and the new one's name."""

from __future__ import annotations

import shlex
import sqlite3
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from photon_triage.core.common.errors import TriageError
from photon_triage.core.session.models.catalog import models_in_use, session_models, shipped_models, stage_for
from photon_triage.core.session.session import Session
from photon_triage.core.session.trainings.label_summary import Count, Learnable, learnable
from photon_triage.tui.snapshot.training_process import proposed_name
from photon_triage.tui.terminal.text import safe_text

SOURCES_SHOWN, RUNS_SHOWN = 6, 4


@dataclass(frozen=True, slots=True)
class TrainingWish:
    """A training to begin: the model to continue, the new one's name, further words of the command."""

    base: str
    name: str
    more: tuple[str, ...]


class BeginScreen(ModalScreen[TrainingWish | None]):
    """Asks for model and name; enter begins."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "model(1)", "Model", priority=True),
        Binding("up", "model(-1)", "Model", show=False, priority=True),
        Binding("escape", "leave", "Back", show=False),
    ]

    class Looked(Message):
        """What there is to learn from, and the models that can be continued, the one in use first."""

        def __init__(self, found: Learnable | None, models: list[str], problem: str) -> None:
            super().__init__()
            self.found, self.models, self.problem = found, models, problem

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._models: list[str] = []
        self._place = 0
        self._proposed = ""

    def compose(self) -> ComposeResult:
        """What would be learned, the choice of a model, and two lines to type in."""
        with Vertical(id="dialog") as dialog:
            dialog.border_title = Content("Train")
            dialog.border_subtitle = Content("enter begins · ↑↓ model · tab next line · esc back")
            yield Static(Content("reading the labels …"), id="learnable", markup=False)
            yield Static(Content(""), id="base", markup=False)
            for name, hint in (
                ("name", "name of the new model"),
                ("more", "more, as --iterations 300 --seed 1"),
            ):
                field = Input(placeholder=hint, id=name)
                field.cursor_blink = False
                yield field
            yield Static(Content(""), id="complaint", markup=False)

    def on_mount(self) -> None:
        """Look what there is."""
        self.query_one("#name", Input).focus()
        self.run_worker(self._look, thread=True, group="look")

    def _look(self) -> None:
        session, found, models, problem = self._session, None, [], ""
        try:
            found = learnable(session)
            in_use = models_in_use(session)
            known = [*session_models(session.models_path), *shipped_models()]
            models = [*in_use.values(), *(name for name in known if _fits(session, name))]
        except (TriageError, OSError, sqlite3.Error) as error:
            problem = str(error)
        self.post_message(self.Looked(found, list(dict.fromkeys(models)), problem))

    def on_begin_screen_looked(self, message: Looked) -> None:
        """Show it."""
        self._models = message.models
        lines = told(message.found) if message.found else [Content.styled(f"✗ {safe_text(message.problem)}", "$error")]
        self.query_one("#learnable", Static).update(Content("\n").join(lines))
        self._choose(0)

    def action_model(self, step: int) -> None:
        """Continue another model."""
        if self._models:
            self._choose((self._place + step) % len(self._models))

    def action_leave(self) -> None:
        """Begin nothing."""
        self.dismiss(None)

    def on_input_submitted(self) -> None:
        """Begin, or say what is missing."""
        name = self.query_one("#name", Input).value.strip()
        try:
            more = tuple(shlex.split(self.query_one("#more", Input).value))
        except ValueError as error:
            self._complain(f"{error}")
            return
        if not name:
            self._complain("The new model needs a name.")
        elif self._models:
            self.dismiss(TrainingWish(self._models[self._place], name, more))

    def _choose(self, place: int) -> None:
        self._place = place
        if not self._models:
            self.query_one("#base", Static).update(Content("no model of this recipe can be continued"))
            return
        base, field = self._models[place], self.query_one("#name", Input)
        told = f"continue (↑↓)  {safe_text(base)}   {place + 1}/{len(self._models)}{', in use' if place == 0 else ''}"
        self.query_one("#base", Static).update(Content.styled(told, "bold"))
        if field.value == self._proposed:
            self._proposed = field.value = proposed_name(self._session, base)

    def _complain(self, text: str) -> None:
        self.query_one("#complaint", Static).update(Content.styled(f"✗ {safe_text(text)}", "bold $error"))


def told(found: Learnable) -> list[Content]:
    """What there is to learn from, in lines."""
    total = found.total
    lines = [Content.styled(f"{'to learn from':<14}  accepted  rejected", "bold")]
    lines += [_line(name, count) for name, count in found.sources[:SOURCES_SHOWN]]
    if len(found.sources) > 1:
        lines.append(_line("together", total))
    if not found.sources:
        lines.append(Content("no labels yet: a accepts, x rejects"))
    audit, apart = found.audit, []
    if audit.both:
        apart.append(f"audit {audit.accepted}A {audit.rejected}X, kept apart to judge")
    if found.skipped:
        apart.append(f"{found.skipped} skipped")
    if found.changed:
        apart.append(f"{found.changed} of frames changed since")
    if apart:
        lines.append(Content(" · ".join(apart)))
    runs = ", ".join(f"{safe_text(run)} {count}" for run, count in found.runs[:RUNS_SHOWN])
    more = " …" if len(found.runs) > RUNS_SHOWN else ""
    lines.append(Content(f"runs {len(found.runs)} of {found.all_runs}{': ' if runs else ''}{runs}{more}"))
    return lines


def _line(name: str, count: Count) -> Content:
    return Content(f"{safe_text(name):<14}  {count.accepted:>8,}  {count.rejected:>8,}")


def _fits(session: Session, name: str) -> bool:
    try:
        stage_for(session, name)
    except TriageError:
        return False
    return True
