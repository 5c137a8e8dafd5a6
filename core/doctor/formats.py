"""Which compressed files can be read here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from photon_triage.core.doctor.check import Check
from photon_triage.core.sources.hdf5.chunks.filters import known_filters

NEEDED = (1, 32000, 32001, 32004, 32008, 32015)
"""gzip, LZF, Blosc, LZ4, bitshuffle, Zstandard: what detectors and facilities write."""


def check_filters(available: Callable[[int], bool] | None = None) -> Check:
    """Whether the HDF5 filters of detector files can be decoded; all registered ones that cannot are named.

    available: whether the filter of a number is there, HDF5's own answer if not given.
    """
    if available is None:
        import h5py

        available = h5py.h5z.filter_avail
    names = known_filters()
    here = {number for number in names if available(number)}
    missing = [names[number] for number in NEEDED if number not in here]
    listed = ", ".join(sorted({names[number] for number in here}, key=str.lower))
    if missing:
        return Check(
            "HDF5 filters",
            "problem",
            f"{', '.join(missing)} cannot be decoded; {listed or 'none'} can",
            "Install hdf5plugin anew: `pip install --force-reinstall hdf5plugin`.",
        )
    absent = sorted({names[number] for number in names if number not in here}, key=str.lower)
    advice = (
        f"Not here: {', '.join(absent)}. A file written with one of them is listed as unreadable." if absent else ""
    )
    return Check("HDF5 filters", "ok", listed, advice)


def check_packages() -> Check:
    """The packages that read files, and whether CBF, EDF and SMV can be read."""
    found = {name: _version(name) for name in ("h5py", "hdf5plugin", "tifffile", "imagecodecs", "mrcfile", "fabio")}
    listed = ", ".join(f"{name} {number}" for name, number in found.items() if number)
    if found["fabio"] is None:
        return Check(
            "file formats", "note", f"{listed}; no fabio", 'CBF, EDF and SMV need `pip install "photon-triage[cbf]"`.'
        )
    return Check("file formats", "ok", listed)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
