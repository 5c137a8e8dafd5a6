"""`photon-triage simulate`: write a beamtime of known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def simulate() -> None:
    """Write a beamtime of known truth, as a beamline would."""


@app.command("spi")
def simulate_spi(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; it must hold no simulation yet.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames in all runs together.")] = 1200,
    rate: Annotated[float, typer.Option(min=0, metavar="HZ", help="Frames a second; 0: as fast as can be.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs; background, beam centre and more drift between them.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same frames.")] = 0,
    format: Annotated[Literal["hdf5", "tiff"], typer.Option(help="CXI files, or one TIFF a frame.")] = "hdf5",
    blanks: Annotated[float, typer.Option(min=0, max=1, help="Mean share of frames without a particle.")] = 0.25,
    singles: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of single hits among the hits; as published, if not given."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Single-particle imaging: icosahedra of 55 to 84 nm among blanks, multiples, wrong sizes, water and streaks.

    The truth goes to truth.csv in the same folder, in the form of `photon-triage labels import`.
    """
    from photon_triage.core.simulate.beamtime import SpiBeamtime, write_spi

    job = SpiBeamtime(folder, frames, rate, runs, seed, format, blanks, singles)
    classes: dict[str, int] = {}
    with progress_bar(f"simulating into {folder}", frames, quiet=quiet or as_json) as advance:

        def note(count: int, category: str) -> None:
            classes[category] = classes.get(category, 0) + 1
            advance(count)

        written = write_spi(job, lambda count, truth: note(count, truth.category))
    if as_json:
        say_json({"folder": str(folder.resolve()), "frames": written, "runs": runs, "seed": seed, "classes": classes})
    elif not quiet:
        parts = ", ".join(f"{count} {name}" for name, count in sorted(classes.items(), key=lambda item: -item[1]))
        say(f"{written} simulated frames in {folder}: {parts}. Truth in {folder / 'truth.csv'}.")
