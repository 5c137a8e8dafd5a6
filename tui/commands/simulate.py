"""`photon-triage simulate`: write a beamtime of known truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from photon_triage.tui.commands.output import progress_bar, say, say_json

if TYPE_CHECKING:
    from photon_triage.core.simulate.beamtime import Simulation
    from photon_triage.core.simulate.volume import SliceTruth

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; it must hold no simulation yet.")]
Runs = Annotated[int, typer.Option(min=1, help="Runs, each of a sample of its own; contrast and more drift.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same frames.")]
Size = Annotated[int, typer.Option(min=64, max=4096, help="Side of a slice in pixels.")]
Slices = Annotated[int, typer.Option(min=1, help="Slices in all runs together.")]
SliceRate = Annotated[float, typer.Option(min=0, metavar="HZ", help="Slices a second; 0: as fast as can be.")]
Format = Annotated[Literal["hdf5", "tiff"], typer.Option(help="One HDF5 file a run, or one TIFF a frame.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def simulate() -> None:
    """Write a beamtime of known truth, as a beamline would."""


@app.command("spi")
def simulate_spi(
    folder: Folder,
    frames: Annotated[int, typer.Option(min=1, help="Frames in all runs together.")] = 1200,
    rate: Annotated[float, typer.Option(min=0, metavar="HZ", help="Frames a second; 0: as fast as can be.")] = 20.0,
    runs: Annotated[int, typer.Option(min=1, help="Runs; background, beam centre and more drift between them.")] = 1,
    seed: Seed = 0,
    format: Format = "hdf5",
    blanks: Annotated[float, typer.Option(min=0, max=1, help="Mean share of frames without a particle.")] = 0.25,
    singles: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of single hits among the hits; as published, if not given."),
    ] = None,
    drift: Annotated[
        Literal["usual", "strong"],
        typer.Option(
            help="strong: background, beam centre, gain and size unlike what the embedded model learned from."
        ),
    ] = "usual",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Single-particle imaging: icosahedra of 55 to 84 nm among blanks, multiples, wrong sizes, water and streaks.

    The truth goes to truth.csv in the same folder, in the form of `photon-triage labels import`.
    """
    from photon_triage.core.simulate.beamtime import Beamtime, spi, write_beamtime

    job = Beamtime(folder, frames, rate, runs, seed, format)
    classes: dict[str, int] = {}
    with progress_bar(f"simulating into {folder}", frames, quiet=quiet or as_json) as advance:

        def note(count: int, category: str) -> None:
            classes[category] = classes.get(category, 0) + 1
            advance(count)

        written = write_beamtime(job, spi(blanks, singles, drift), lambda count, truth: note(count, truth.category))
    if as_json:
        facts = {"folder": str(folder.resolve()), "frames": written, "runs": runs, "seed": seed, "drift": drift}
        say_json({**facts, "classes": classes})
    elif not quiet:
        parts = ", ".join(f"{count} {name}" for name, count in sorted(classes.items(), key=lambda item: -item[1]))
        say(f"{written} simulated frames in {folder}: {parts}. Truth in {folder / 'truth.csv'}.")


@app.command("tomo")
def simulate_tomo(
    folder: Folder,
    frames: Slices = 120,
    rate: SliceRate = 2.0,
    runs: Runs = 1,
    seed: Seed = 0,
    format: Format = "hdf5",
    size: Size = 512,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Micro-tomography: reconstructed slices of a magnesium screw that degrades in bone.

    The truth goes to truth/masks in the same folder: an image a slice, whose values 0 to 3 are background, bone,
    corrosion layer and implant.
    """
    from photon_triage.core.simulate.beamtime import tomo

    _simulate_slices(tomo(size), folder, frames, rate, runs, seed, format, quiet=quiet, as_json=as_json)


@app.command("cryoet")
def simulate_cryoet(
    folder: Folder,
    frames: Slices = 60,
    rate: SliceRate = 1.0,
    runs: Runs = 1,
    seed: Seed = 0,
    format: Format = "hdf5",
    size: Size = 512,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Cryo-electron tomography: slices through minicells with injectisomes in their membranes.

    The truth goes to truth in the same folder: masks of the membranes (an image a slice, 1 is membrane), and points.csv
    with the injectisomes in the form of `photon-triage labels import`.
    """
    from photon_triage.core.simulate.beamtime import cryoet

    _simulate_slices(cryoet(size), folder, frames, rate, runs, seed, format, quiet=quiet, as_json=as_json)


def _simulate_slices(
    simulation: Simulation[SliceTruth],
    folder: Path,
    frames: int,
    rate: float,
    runs: int,
    seed: int,
    format: Literal["hdf5", "tiff"],
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write slices, and say what part of the pixels each class has and how many objects there are to find."""
    import numpy as np

    from photon_triage.core.simulate.beamtime import Beamtime, write_beamtime

    names: tuple[str, ...] = ()
    pixels: Any = 0
    points = 0
    with progress_bar(f"simulating into {folder}", frames, quiet=quiet or as_json) as advance:

        def note(count: int, truth: SliceTruth) -> None:
            nonlocal names, pixels, points
            names, points = truth.names, points + len(truth.points)
            pixels = pixels + np.bincount(truth.classes.reshape(-1), minlength=len(names))
            advance(count)

        written = write_beamtime(Beamtime(folder, frames, rate, runs, seed, format), simulation, note)
    shares = {name: float(share) for name, share in zip(names, pixels / pixels.sum(), strict=True)}
    if as_json:
        facts = {"folder": str(folder.resolve()), "frames": written, "runs": runs, "seed": seed}
        say_json({**facts, "classes": shares, "points": points})
    elif not quiet:
        parts = ", ".join(f"{share:.1%} {name}" for name, share in shares.items())
        found = f" {points} objects to find." if points else ""
        say(f"{written} simulated slices in {folder}: {parts}.{found} Truth in {folder / 'truth'}.")
