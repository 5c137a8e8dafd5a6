"""`photon-triage sweep`: train over a small grid of options, and name the best on validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.core.common.errors import TrainingError, UsageError
from photon_triage.tui.commands.output import progress_bar, say, say_json, say_table


def sweep(
    context: typer.Context,
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Session to train in; it comes first.")],
    grid: Annotated[
        list[str], typer.Option(metavar="KEY=VALUES", help="An option of train and its values: rate=1e-4,3e-4.")
    ],
    name: Annotated[str, typer.Option(help="What the names of the models begin with.")] = "sweep",
    anew: Annotated[bool, typer.Option("--anew", help="Train all points again.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Train over a small grid of options; all other options are those of train, and the same for every point.

    photon-triage sweep S --grid rate=1e-4,3e-4 --grid batch=32,64 --model hitnet --validate V --test T

    Ranked by F1 on validation; of the test only the winner's score is shown, once the choice is made. Every point is a
    training with a folder and a name of its own: given again, the command goes on, and does not repeat what is done.
    """
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.loop.checkpoints import checked_name
    from photon_triage.core.training.sweep import parse_grid, points_of
    from photon_triage.core.training.sweep import sweep as run

    session, fixed = Session.open(session_path), tuple(context.args)
    options = {word.partition("=")[0] for word in fixed}
    if not options & {"--validate", "--images"} and session.recipe().segment is None:
        raise UsageError(
            "Could not sweep: there is nothing to choose by.", "Give --validate SESSION, whose labels choose."
        )
    points = points_of(parse_grid(grid), fixed, checked_name(name))
    with progress_bar("points", len(points), quiet=quiet or as_json) as advance:
        try:
            rows = run(session, points, fixed, anew=anew, note=lambda done, planned, what: advance(done, note=what))
        except KeyboardInterrupt:
            raise TrainingError(
                "The sweep was interrupted.", "Give the same command again: it goes on where it was.",
                title="Interrupted",
            ) from None  # fmt: skip
    winner = rows[0] if rows[0]["validation_f1"] is not None else None
    if winner is None:
        raise TrainingError("No point of the sweep could be trained.", str(rows[0]["failed"]))
    if as_json:
        say_json({
            "points": [{key: value for key, value in row.items() if key != "report"} for row in rows],
            "winner": winner["name"], "chosen_by": "validation", "test": _test(winner),
            "evaluated_on": winner["report"].get("evaluated_on"),
        })  # fmt: skip
        return
    keys = list(rows[0]["options"])
    say_table([
        ("name", *keys, "F1 on validation", "95 %"),
        *((row["name"], *(row["options"][key] for key in keys), *_cells(row)) for row in rows),
    ])  # fmt: skip
    for row in rows:
        if row["validation_f1"] is None:
            say(f"{row['name']} failed: {row['failed']}")
    learned = {row["report"].get("trained_on") for row in rows if "report" in row}
    if len(learned) > 1:
        say("The points did not learn from the same labels, which changed meanwhile: --anew trains all again.")
    say(f"Best on validation: {winner['name']}. Use it: photon-triage models use {session_path} {winner['name']}")
    if (test := _test(winner)) and test["f1"] is not None:
        interval = test.get("f1_interval")
        told_set = winner["report"].get("evaluated_on", "a set that its report does not name")
        told = f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        told += f", n = {test['n']}, on {told_set}"
        say(f"Its F1 on the test, scored once and not chosen by: {test['f1']:.3f}{told}.")


def _cells(row: dict[str, Any]) -> tuple[str, str]:
    f1, interval = row["validation_f1"], row["validation_interval"]
    return "-" if f1 is None else f"{f1:.3f}", f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "-"


def _test(winner: dict[str, Any]) -> dict[str, Any] | None:
    """What is recorded with the model: its scores at the threshold that validation suggests, where it does."""
    scores = winner["report"].get("scores", {})
    found = scores.get(f"{winner['name']} at its best threshold") or scores.get(winner["name"])
    return dict(found) if found else None
