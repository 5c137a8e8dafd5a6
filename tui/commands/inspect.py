"""`photon-triage inspect`: what a detector file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from photon_triage.tui.commands.output import say_json, say_table

if TYPE_CHECKING:
    from photon_triage.core.sources import SourceInfo


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An HDF5 or TIFF file.")],
    dataset: Annotated[str | None, typer.Option(help="The data set to look at, where the file has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a detector file holds: layout, frames, geometry.

    The file is opened in another process, so a damaged one costs that process and nothing else.
    """
    from photon_triage.core.sources import FrameReader

    with FrameReader() as reader:
        info = reader.inspect(file, dataset)
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
        ("format", f"{info.format}, {info.layout}" if info.layout else info.format),
        ("dataset", info.dataset or "-"),
        ("frames", f"{info.available} of {info.frames} readable, {ending}"),
        ("shape", f"{height} x {width} {info.dtype}"),
        ("compression", info.compression or "none"),
        ("mask", info.mask or "none"),
        ("run", info.run or "-"),
        ("photon energy", _quantity(geometry.photon_energy_ev, "eV")),
        ("wavelength", _quantity(geometry.wavelength and geometry.wavelength * 1e9, "nm")),
        ("detector distance", _quantity(geometry.detector_distance, "m")),
        ("pixel size", _quantity(geometry.pixel_size and geometry.pixel_size * 1e6, "µm")),
        ("beam centre", ", ".join(_quantity(value, "px") for value in center) + " (x, y)"),
    ]
    if info.simulated:
        rows.append(("simulated", "yes: not from an experiment"))
    return rows


def _quantity(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.6g} {unit}"
