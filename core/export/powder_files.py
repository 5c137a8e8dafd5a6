"""A virtual powder as a file that other programs read: HDF5 or TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from photon_triage.core.common.atomic import atomic_file
from photon_triage.core.common.errors import SessionError, UsageError
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.powder import KINDS, Powder, read_powder

SUFFIXES = (".h5", ".hdf5", ".tif", ".tiff")


def export_powder(session: Session, output: Path) -> Powder:
    """Write a session's powder: mean and maximum of hits and misses and their difference, NaN where masked.

    HDF5 has groups `hits` and `misses` with `mean`, `max` and the attribute `frames`, and `difference` and `valid`
    beside them; TIFF has a page each, named by its description. Raises UsageError for any other ending, SessionError
    where there is no powder or the file cannot be written.
    """
    suffix = output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"Could not write the powder to {output}: unknown ending.", f"Use {', '.join(SUFFIXES)}.")
    powder = read_powder(session.path)
    if powder is None:
        raise SessionError(
            f"Could not export the powder of {session.path}: there is none yet.",
            "An engine writes it after ten seconds of work, where the recipe reads counts or says `powder = true`.",
        )
    try:
        if suffix in (".h5", ".hdf5"):
            _write_hdf5(powder, session, output)
        else:
            _write_tiff(powder, output)
    except OSError as error:
        raise SessionError(
            f"Could not write {output}: {error.strerror or error}.", "Choose a folder that you may write to."
        ) from error
    return powder


def images(powder: Powder) -> dict[str, NDArray[np.float32]]:
    """The pictures by name, (height, width) float32, NaN where nothing valid was read."""
    found = {f"{kind}/{name}": getattr(getattr(powder, kind), name) for kind in KINDS for name in ("mean", "max")}
    found["difference"] = powder.difference
    return {name: np.where(powder.valid, image, np.float32(np.nan)) for name, image in found.items()}


def _write_hdf5(powder: Powder, session: Session, output: Path) -> None:
    import h5py

    with atomic_file(output) as place, h5py.File(place, "w") as file:
        for name, image in images(powder).items():
            file.create_dataset(name, data=image, compression="gzip", shuffle=True)
        file["valid"] = powder.valid
        for kind in KINDS:
            file[kind].attrs["frames"] = getattr(powder, kind).n
        file.attrs["creator"] = "photon-triage"
        file.attrs["simulated"] = powder.simulated
        file.attrs["recipe"] = session.recipe_text()


def _write_tiff(powder: Powder, output: Path) -> None:
    import tifffile

    made = " (simulated)" if powder.simulated else ""
    with atomic_file(output) as place, tifffile.TiffWriter(place) as file:
        for name, image in images(powder).items():
            frames = getattr(powder, name.partition("/")[0]).n if "/" in name else powder.hits.n + powder.misses.n
            file.write(image, description=f"{name}, {frames} frames{made}", metadata=None, compression="zlib")
