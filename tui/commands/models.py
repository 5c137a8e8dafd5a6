"""Command `models`: models listed, described, chosen, and brought in from and out to other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from photon_triage.core.common.errors import UsageError
from photon_triage.core.session.models.catalog import evaluated_on
from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.training_options import parse_names, parse_options, parse_size

if TYPE_CHECKING:
    from photon_triage.models.files.model_file import Opened
    from photon_triage.models.files.summary import Summary
from photon_triage.tui.commands import promotion

if TYPE_CHECKING:
    from photon_triage.core.session.models.catalog import ModelEntry


SessionOption = Annotated[
    Path | None, typer.Option("--session", metavar="SESSION", help="A session whose models can be named.")
]
OptionsOption = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Of the architecture, such as depth=100.")
]
SizeOption = Annotated[
    str | None, typer.Option(metavar="HxW", help="Pixels of the frames; what the network is made for if not given.")
]
WeightsOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Darknet's .weights for a cfg.")]
MEASURES = ("precision", "recall", "f1", "iou", "accuracy")


def inspect(
    what: Annotated[
        str, typer.Argument(metavar="NAME_OR_FILE", help="A model, a .safetensors or .cfg file, an architecture.")
    ],
    session: SessionOption = None,
    size: SizeOption = None,
    option: OptionsOption = None,
    weights: WeightsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a network is made of: parameters, work for a frame, layers, where it comes from and how it scored."""
    from photon_triage.models.files.summary import summarise

    extents = parse_size(size)
    place, opened = _open(what, session, option, weights)
    summary = summarise(opened.model, extents)
    if as_json:
        say_json(
            {
                "name": opened.metadata.get("name", what),
                "place": place,
                "family": summary.family,
                "input": summary.input,
                "parameters": summary.parameters,
                "gmac": summary.gmac,
                "layers": summary.layers,
                "notes": opened.notes,
                "metadata": opened.metadata,
            }
        )
        return
    say_table(_facts(what, place, opened, summary))
    say()
    say(summary.heading)
    for line in summary.layers:
        say(line)


def import_network(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Darknet's .weights, a .pt, .pth or .safetensors file.")],
    cfg: Annotated[
        str | None, typer.Option(metavar="CFG", help="The network of .weights: a file or a shipped cfg.")
    ] = None,
    family: Annotated[str | None, typer.Option(metavar="NAME", help="The architecture of any other file.")] = None,
    option: OptionsOption = None,
    by_order: Annotated[bool, typer.Option("--by-order", help="Match tensors by order, whatever their names.")] = False,
    class_names: Annotated[str, typer.Option(metavar="A,B", help="What the outputs stand for, in their order.")] = "",
    name: Annotated[str | None, typer.Option(help="The model's name; the file's if not given.")] = None,
    session: Annotated[Path | None, typer.Option(metavar="SESSION", help="Add it to this session's models.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT", help="A .safetensors file.")] = None,
) -> None:
    """Make a model of the weights of another program.

    No code of the file is run: of a .pt or .pth file tensors alone are read (weights_only=True).
    """
    from photon_triage.models.common.checkpoint import save
    from photon_triage.models.files.model_file import open_cfg, open_foreign, open_network

    if (session is None) == (output is None):
        raise UsageError(
            "Could not import without a place for the result.", "Give --session SESSION or -o OUT.safetensors."
        )
    options = parse_options(option or ())
    if file.suffix == ".weights":
        if cfg is None:
            raise UsageError(f"Could not import {file}: it does not say of which network.", "Give --cfg FILE.cfg.")
        opened = open_cfg(cfg, options, file)
    elif family is None and file.suffix == ".safetensors":
        opened = open_network(str(file), options)
    elif family is None:
        raise UsageError(f"Could not import {file}: it does not say of which network.", "Give --family NAME.")
    else:
        opened = open_foreign(file, family, options, by_order=by_order)
    metadata = opened.metadata | {"name": name or file.stem} | _classes(opened, class_names)
    if session is not None:
        path = _register(session, str(metadata.pop("name")), opened, metadata)
    else:
        assert output is not None
        path = save(output, opened.model, metadata)
    for note in opened.notes:
        say(note)
    say(f"written: {path}")


def export_network(
    what: Annotated[str, typer.Argument(metavar="NAME_OR_FILE", help="What `models inspect` takes.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="A file that ends in .onnx, .weights or .safetensors.")
    ],
    session: SessionOption = None,
    size: SizeOption = None,
    option: OptionsOption = None,
    weights: WeightsOption = None,
) -> None:
    """Write a network for other programs: ONNX, Darknet's .weights, or safetensors.

    An ONNX file is for any number of frames of one size. Where onnxruntime is installed, it is compared with the
    network.
    """
    extents = parse_size(size)
    if output.suffix not in (".onnx", ".weights", ".safetensors"):
        raise UsageError(f"Could not export to {output}.", "Give a name that ends in .onnx, .weights or .safetensors.")
    _, opened = _open(what, session, option, weights)
    if output.suffix == ".onnx":
        say(_export_onnx(opened, output, extents))
    elif output.suffix == ".weights":
        from photon_triage.models.common.errors import ModelError
        from photon_triage.models.darknet.darknet import Darknet

        if not isinstance(opened.model, Darknet):
            raise ModelError(f"Cannot export {what} to {output}: it is no Darknet network.", "Give a .onnx file.")
        opened.model.save_weights(output)
        say(f"written: {output}, {output.stat().st_size:,} bytes; the network itself is its cfg")
    else:
        from photon_triage.models.common.checkpoint import save

        say(f"written: {save(output, opened.model, opened.metadata)}")


def _open(what: str, session: Path | None, option: list[str] | None, weights: Path | None) -> tuple[str, Opened]:
    """Where the network is from, and the network."""
    from photon_triage.core.session.models.catalog import session_models, shipped_models
    from photon_triage.core.session.session import Session
    from photon_triage.models.files.model_file import open_network

    known = shipped_models() | (session_models(Session.open(session).models_path) if session else {})
    entry = known.get(what)
    opened = open_network(str(entry.path) if entry else what, parse_options(option or ()), weights)
    return (f"{entry.origin}, {entry.path}" if entry else ""), opened


def _register(session: Path, name: str, opened: Opened, metadata: Mapping[str, Any]) -> Path:
    from photon_triage.core.session.session import Session
    from photon_triage.core.training.loop.checkpoints import checked_name, register

    return register(Session.open(session).models_path, checked_name(name), opened.model, metadata).path


def _classes(opened: Opened, names: str) -> dict[str, Any]:
    """The class names as metadata, if there are as many as the network has outputs."""
    classes = parse_names(names)
    if not classes:
        return {}
    heads = getattr(opened.model, "heads", ())
    outputs = (
        heads[0].classes if heads else getattr(opened.model, "out_channels", getattr(opened.model, "classes", None))
    )
    if outputs is not None and outputs != len(classes):
        raise UsageError(
            f"Could not name the classes {', '.join(classes)}: the network has {outputs}.", "Give a name for each."
        )
    return {"classes": list(classes)}


def _export_onnx(opened: Opened, output: Path, extents: tuple[int, ...] | None) -> str:
    from photon_triage.models.files.onnx_export import export_onnx
    from photon_triage.models.files.summary import summarise

    shape = summarise(opened.model, extents).input
    report = export_onnx(opened.model, output, shape, opened.metadata)
    checked = (
        "not checked: onnxruntime is not installed"
        if report.difference is None
        else f"onnxruntime's results differ by {report.difference:.1e} of the largest value"
    )
    return f"written: {report.path}, {report.bytes:,} bytes, for frames of {_times(shape)}; {checked}"


def _facts(what: str, place: str, opened: Opened, summary: Summary) -> list[tuple[str, str]]:
    """What is printed of a network before its layers: names and values."""
    metadata = opened.metadata
    rows = [("name", str(metadata.get("name", what)))]
    rows += [("from", place)] if place else []
    rows += [("architecture", summary.family), ("input", _times(summary.input))]
    rows.append(("parameters", f"{summary.parameters:,}"))
    if summary.gmac is not None:
        rows.append(("work", f"{summary.gmac:.4g} GMAC a frame of {_times(summary.input[1:])}"))
    rows += [("", note) for note in opened.notes]
    if isinstance(metadata.get("classes"), list):
        rows.append(("classes", ", ".join(map(str, metadata["classes"]))))
    rows += [
        (key, str(metadata[key])) for key in ("source", "parent", "created", "command", "note") if metadata.get(key)
    ]
    data = metadata.get("data")
    if isinstance(data, Mapping):
        told = {key: value for key, value in data.items() if key != "evaluated_on" and _is_plain(value)}
        rows.append(("training", ", ".join(f"{key} {value}" for key, value in told.items())))
    scores = metadata.get("scores")
    if isinstance(scores, Mapping):
        on = f" on {evaluated_on(metadata)}"
        rows += [
            (f"score: {key}", _score(value, scores.get(f"{key}_interval")) + (on if key in MEASURES else ""))
            for key, value in scores.items()
            if _is_plain(value)
        ]
    return rows


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _score(value: Any, interval: Any) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    if isinstance(interval, list) and len(interval) == 2 and all(isinstance(end, int | float) for end in interval):
        text += f" ({interval[0]:.3f} to {interval[1]:.3f})"
    return text


def _times(extents: tuple[int, ...]) -> str:
    return " x ".join(map(str, extents))


app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.command("inspect")(inspect)
app.command("import")(import_network)
app.command("export")(export_network)
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
