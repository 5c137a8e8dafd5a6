"""`photon-triage models`: what models there are, which one the engine uses, and the ways in and out for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.tui.commands import network_files as networks
from photon_triage.tui.commands import promotion
from photon_triage.tui.commands.output import say, say_json, say_table

if TYPE_CHECKING:
    from photon_triage.core.session.models.catalog import ModelEntry

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("inspect")(networks.inspect)
app.command("import")(networks.import_network)
app.command("export")(networks.export_network)
app.command("shadow")(promotion.shadow)
app.command("compare")(promotion.compare)
app.command("promote")(promotion.promote)
app.command("rollback")(promotion.rollback)


@app.command("list")
def list_models(
    session_path: Annotated[
        Path | None, typer.Argument(metavar="[SESSION]", help="Those of this session too, and which is in use.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped models, and a session's own, with their scores."""
    from photon_triage.core.session.models.catalog import models_in_use, session_models, shipped_models
    from photon_triage.core.session.session import Session

    entries = list(shipped_models().values())
    in_use: set[str] = set()
    if session_path is not None:
        session = Session.open(session_path)
        entries += session_models(session.models_path).values()
        in_use = set(models_in_use(session).values())
    found: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "origin": entry.origin,
            "path": str(entry.path),
            "family": entry.family or None,
            "parameters": _parameters(entry),
            "source": _text(entry.metadata.get("source")),
            "parent": _text(entry.metadata.get("parent")),
            "scores": scores if isinstance(scores := entry.metadata.get("scores"), dict) else {},
            "evaluated_on": entry.evaluated_on,
            "in_use": entry.name in in_use,
        }
        for entry in entries
    ]
    if as_json:
        say_json(found)
        return
    rows = [("", "model", "origin", "network", "parameters", "made from", "F1")]
    for model in found:
        count = "" if model["parameters"] is None else f"{model['parameters']:,}"
        made = str(model["parent"] or model["source"] or "")
        network = model["family"] or ""
        rows.append(("*" if model["in_use"] else "", model["name"], model["origin"], network, count, made, _f1(model)))
    say_table(rows)


def _f1(model: dict[str, Any]) -> str:
    f1 = model["scores"].get("f1")
    if not isinstance(f1, int | float):
        return ""
    return f"{f1:.3f} (n = {model['scores'].get('n')}) on {model['evaluated_on']}"


def _text(value: Any) -> str | None:
    """A text of a model's metadata; None where there is none, or something else in its place."""
    return value if isinstance(value, str) else None


def _parameters(entry: ModelEntry) -> int | None:
    """The learnable numbers of a model, as its metadata say, else counted; None where it cannot be built."""
    from photon_triage.models.common.limits import LARGEST_NETWORK

    said = entry.metadata.get("parameters")
    if isinstance(said, int) and 0 <= said <= LARGEST_NETWORK:
        return said
    from photon_triage.models.common.checkpoint import parameter_count
    from photon_triage.models.common.errors import ModelError

    try:
        return parameter_count(entry.path)
    except ModelError:
        return None


@app.command()
def use(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `models list SESSION` shows.")],
) -> None:
    """Have the session's engine score with this model from now on, and again what another one has scored.

    The model takes the place of the one in the recipe's stage that it serves: classify, segment or patches.
    """
    from photon_triage.core.engine.networks import check_model
    from photon_triage.core.session.decisions.commands import ask_to_use
    from photon_triage.core.session.models.catalog import find_model
    from photon_triage.core.session.session import Session

    session = Session.open(session_path)
    entry = find_model(name, session.models_path)
    if entry.origin == "file":
        name = str(entry.path.absolute())  # the engine works in another directory
    kind = check_model(session, name)
    journal = session.journal()
    try:
        ask_to_use(journal, name)
    finally:
        journal.close()
    say(f"The {kind} stage of {session.path} uses {name} from the engine's next batch on, or as soon as it runs.")
