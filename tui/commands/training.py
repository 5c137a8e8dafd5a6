"""`photon-triage training`: the trainings of a session, paused, stopped and continued."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.approval import ApproveOption, approved
from photon_triage.tui.commands.output import say, say_json, say_table

if TYPE_CHECKING:
    from photon_triage.core.session.trainings.trainings import Training

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

SessionArgument = Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name that `training list SESSION` shows.")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait until it has come to that.")]


@app.command("list")
def list_trainings(
    session_path: SessionArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the session's trainings with their state, those at work first."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, TrainingsFollower
    from photon_triage.tui.terminal.text import left, state_sign

    trainings = TrainingsFollower(Session.open(session_path)).read()
    if as_json:
        say_json([training.report() for training in trainings])
        return
    rows = [("training", "state", "batches", "loss", "best F1 on held-out data", "left", "")]
    for each in trainings:
        loss = f"{each.curve[-1].loss:.4f}" if each.curve else ""
        f1 = "" if each.best_f1 is None else f"{each.best_f1:.3f}"
        state = f"{state_sign(each.state)} {each.state}"
        remains = left(each) if each.state in AT_WORK else ""
        rows.append((each.name, state, f"{each.done}/{each.planned}", loss, f1, remains, each.message))
    say_table(rows)


@app.command()
def pause(session_path: SessionArgument, name: NameArgument, wait: WaitOption = 0.0) -> None:
    """Pause a training after the batch it is at, its state kept; its process waits without work."""
    from photon_triage.core.session.trainings.trainings import PAUSE

    training = _at_work(session_path, name)
    _wish(training, session_path, PAUSE, wait, "paused")


@app.command()
def stop(session_path: SessionArgument, name: NameArgument, wait: WaitOption = 0.0) -> None:
    """Stop a training after the batch it is at, its state kept; `training continue` goes on with it."""
    from photon_triage.core.session.trainings.trainings import STOP

    training = _at_work(session_path, name)
    _wish(training, session_path, STOP, wait, "interrupted")


@app.command("continue")
def go_on(session_path: SessionArgument, name: NameArgument, approve_commands: ApproveOption = False) -> None:
    """Go on with a training that is paused, or that was stopped, killed or interrupted, at low priority, by itself."""
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, PAUSE, RESUMABLE, find_training, wish
    from photon_triage.tui.resumption import resumption
    from photon_triage.tui.snapshot.training_process import resume

    training = find_training(Session.open(session_path), name)
    if training.state in AT_WORK:
        wish(training, PAUSE, holds=False)
    else:
        if training.state in RESUMABLE and not (command := resumption(training)).allowed:
            what = f"The training {name} was not begun by this account; its folder says that it was by"
            approved("training", command.approval, what, approve=approve_commands)
        resume(training)
    say(f"{name} goes on; `photon-triage training list {session_path}` tells how far it is.")


def _at_work(session_path: Path, name: str) -> Training:
    from photon_triage.core.common.errors import SessionError
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import AT_WORK, find_training

    training = find_training(Session.open(session_path), name)
    if training.state not in AT_WORK:
        raise SessionError(
            f"Could not pause or stop the training {name}: it is {training.state}.",
            "Nothing of it is at work.",
            title="Not at work",
        )
    return training


def _wish(training: Training, session_path: Path, file: str, wait: float, wanted: str) -> None:
    from photon_triage.core.session.session import Session
    from photon_triage.core.session.trainings.trainings import find_training, wish

    wish(training, file)
    session, deadline = Session.open(session_path), time.monotonic() + wait
    now = find_training(session, training.name)
    while now.state not in (wanted, "done", "failed") and time.monotonic() < deadline:
        time.sleep(0.1)
        now = find_training(session, training.name)
    say(f"{training.name} is {now.state}, {now.done} of {now.planned} batches are done.")
