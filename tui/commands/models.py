"""`photon-triage models`: what models there are, and which one the engine uses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from photon_triage.tui.commands.output import say, say_json, say_table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(
    session_path: Annotated[
        Path | None, typer.Argument(metavar="[SESSION]", help="Those of this session too, and which is in use.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models, and a session's own, with their scores."""
    from photon_triage.core.session.models import session_models, shipped_models
    from photon_triage.core.session.session import Session

    entries = list(shipped_models().values())
    in_use = None
    if session_path is not None:
        session = Session.open(session_path)
        entries += session_models(session.models_path).values()
        in_use = session.engine_state().get("model")
    found: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "origin": entry.origin,
            "path": str(entry.path),
            "parent": entry.metadata.get("parent"),
            "scores": entry.metadata.get("scores", {}),
            "in_use": entry.name == in_use,
        }
        for entry in entries
    ]
    if as_json:
        say_json(found)
        return
    rows = [("", "model", "origin", "parent", "F1 on held-back labels")]
    for model in found:
        f1 = model["scores"].get("f1")
        shown = "" if f1 is None else f"{f1:.3f} (n = {model['scores'].get('n')})"
        rows.append(("*" if model["in_use"] else "", model["name"], model["origin"], model["parent"] or "", shown))
    say_table(rows)


@app.command()
def use(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `models list SESSION` shows.")],
) -> None:
    """Have the session's engine score with this model from now on, and again what another one has scored."""
    from photon_triage.core.errors import UsageError
    from photon_triage.core.session.commands import ask_to_use
    from photon_triage.core.session.models import find_model
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    if session.recipe().classify is None:
        raise UsageError(
            f"Could not use a model in {session.path}: its recipe {session.recipe().name} has no classify stage.",
            "Begin a session with a recipe that has one, such as spi.",
        )
    find_model(name, session.models_path)
    journal = session.journal()
    try:
        ask_to_use(journal, name)
    finally:
        journal.close()
    say(f"The engine of {session.path} uses {name} from its next batch on, or as soon as it runs.")
