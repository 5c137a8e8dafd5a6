"""`photon-triage train`: what operators decided goes back into the model."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table
from photon_triage.tui.commands.sessions import DeviceOption


def train(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Session whose labels to train on.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the new model; made from the old one's, if not given.")
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="MODEL", help="Model to continue; the one in use.")] = None,
    from_cfg: Annotated[
        str | None, typer.Option(metavar="CFG", help="Begin with random weights: a shipped cfg or a Darknet cfg file.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(min=1, help="Batches; 150, or the cfg's max_batches.")] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate; 0.0003, or the cfg's schedule.")] = None,
    validate: Annotated[
        Path | None, typer.Option(metavar="SESSION", help="Session whose labels choose the best checkpoint.")
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="SESSION", help="Session whose labels score the models, instead of held-back labels."),
    ] = None,
    note: Annotated[str, typer.Option(metavar="TEXT", help="What the data are; kept with the model.")] = "",
    seed: Annotated[
        int, typer.Option(min=0, help="Of the split into training and held-back labels, and the rest.")
    ] = 0,
    device: DeviceOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Continue the current model on the session's labels, and score old and new on labels that neither has seen.

    A third of the labels is held back for that. The new model is registered under a name of its own; the engine goes
    on with the old one until `photon-triage models use SESSION NAME`.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.job import TrainingJob, run_training

    job = TrainingJob(
        session=Session.open(session_path),
        name=name,
        base=base,
        cfg=from_cfg,
        iterations=iterations,
        rate=rate,
        validation=None if validate is None else Session.open(validate),
        test=None if test is None else Session.open(test),
        seed=seed,
        device=device,
        command="photon-triage " + shlex.join(sys.argv[1:]),
        note=note,
    )
    with progress_bar("training", None, quiet=quiet or as_json) as advance:

        def show(done: int, planned: int, loss: float, f1: float | None) -> None:
            checked = "" if f1 is None else f"  F1 {f1:.3f}"
            advance(done, total=planned, note=f"loss {loss:.4f}{checked}")

        trained = run_training(job, show)
    if as_json:
        say_json(trained.report())
        return
    report = trained.report()
    say(
        f"Trained {report['name']} on {report['trained_on']} labels ({report['accepted']} accepted) "
        f"in {report['seconds']:.0f} s; scored on {report['held_back']} labels that it has not seen."
    )
    rows: list[tuple[str, ...]] = [("model", "n", "precision", "recall", "F1")]
    for model, scores in report["scores"].items():
        rows.append((model, str(scores["n"]), *(_estimate(scores, key) for key in ("precision", "recall", "f1"))))
    say_table(rows)
    if report["suggested_threshold"] is not None:
        say(f"Highest F1 on the validation labels at threshold {report['suggested_threshold']:.3f}.")
    if report["simulated"]:
        say("Simulated data: these numbers are of a simulation, not of an experiment.")
    say(f"To use it: photon-triage models use {session_path} {report['name']}")


def _estimate(scores: dict[str, Any], key: str) -> str:
    value = scores[key]
    low, high = scores[f"{key}_interval"]
    return "undefined" if value is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"
