"""Commands `inspect`, `recipes` and `powder`: detector files, shipped recipes and powder patterns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import say, say_json, say_table
from photon_triage.tui.commands.session import RootsOption

if TYPE_CHECKING:
    from photon_triage.core.sources import SourceInfo
    from photon_triage.core.sources.common.info import Alternative


def recipes(
    show: Annotated[str | None, typer.Option(metavar="NAME", help="Print this recipe, shipped or a file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the shipped recipes, or print one to begin your own with."""
    from photon_triage.core.recipe import load_recipe, parse_recipe, recipe_text, shipped_recipes

    if show is not None:
        text = recipe_text(show)
        recipe = parse_recipe(text, show)
        if as_json:
            say_json({"name": recipe.name, "title": recipe.title, "text": text, "recipe": recipe.model_dump()})
        else:
            for line in text.splitlines():
                say(line)
        return
    shipped = [load_recipe(name) for name in shipped_recipes()]
    if as_json:
        say_json([{"name": recipe.name, "title": recipe.title} for recipe in shipped])
    else:
        say_table((recipe.name, recipe.title) for recipe in shipped)


def powder(
    session_path: Annotated[Path, typer.Argument(metavar="SESSION", help="Directory of the session.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="An .h5 or a .tif to write.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write the virtual powder: mean and maximum of all hits and of all misses, and the difference of the means."""
    from photon_triage.core.export.powder_files import export_powder
    from photon_triage.core.session.session import Session

    made = export_powder(Session.open(session_path), output)
    if as_json:
        height, width = made.valid.shape
        say_json({"hits": made.hits.n, "misses": made.misses.n, "height": height, "width": width, "path": str(output)})
        return
    say(f"{made.hits.n:,} hits and {made.misses.n:,} misses in {output}")


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An HDF5, TIFF, MRC, CBF, EDF or SMV file.")],
    dataset: Annotated[str | None, typer.Option(help="The data set to look at, where the file has several.")] = None,
    roots: RootsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a detector file holds, and why: layout, frames, mask, geometry, and what else was there.

    The file is opened in another process, so a damaged one costs that process and nothing else.
    """
    from photon_triage.core.sources import FrameReader

    with FrameReader(roots=[str(root) for root in roots or ()]) as reader:
        info = reader.inspect(file, dataset, explain=True, around=True)
    if as_json:
        say_json(info.to_json())
    else:
        say_table(facts(info))


def facts(info: SourceInfo) -> list[tuple[str, str]]:
    """What is printed of a file: names and values."""
    height, width = info.shape
    geometry = info.geometry
    ending = "complete" if info.complete else "still being written"
    center = geometry.beam_center_x, geometry.beam_center_y
    rows = [
        ("path", info.path),
        ("format", f"{info.format}, {info.layout}" if info.layout not in ("", info.format) else info.format),
        ("dataset", info.dataset or "-"),
        ("because", info.reason or "-"),
        ("frames", f"{info.available} of {info.frames} readable, {ending}"),
        ("shape", f"{height} x {width} {info.dtype}"),
        ("compression", info.compression or "none"),
        *(("note", note) for note in info.notes),
        *((("note", f"{info.shown_by} shows these frames too, and is read in its place"),) if info.shown_by else ()),
        ("mask", info.mask or "none"),
        *((("bad pixels", ", ".join(info.mask_bits)),) if info.mask_bits else ()),
        ("run", info.run or "-"),
        ("photon energy", _quantity(geometry.photon_energy_ev, "eV")),
        ("wavelength", _quantity(geometry.wavelength and geometry.wavelength * 1e9, "nm")),
        ("detector distance", _quantity(geometry.detector_distance, "m")),
        ("pixel size", _quantity(geometry.pixel_size and geometry.pixel_size * 1e6, "µm")),
        ("beam centre", ", ".join(_quantity(value, "px") for value in center) + " (x, y)"),
    ]
    rows.extend(("missing", name) for name in info.missing)
    rows.extend(("not taken", _not_taken(other)) for other in info.alternatives)
    if info.simulated:
        rows.append(("simulated", "yes: not from an experiment"))
    return rows


def _not_taken(other: Alternative) -> str:
    sides = " x ".join(str(side) for side in other.shape)
    return f"{other.path} ({sides} {other.dtype}): {other.refused or 'it can be named with --dataset'}"


def _quantity(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.6g} {unit}"
