"""The machine as `doctor` checks it: device and precision of networks, processor, memory, HDF5 filters, packages."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import torch

from photon_triage.core.session.models.catalog import shipped_models
from photon_triage.core.sources.hdf5.chunks.filters import known_filters
from photon_triage.models.common.errors import ModelError
from photon_triage.models.cpu.packing import cpu_notices
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.model_file import open_network
from photon_triage.models.inference.autotune import WORTHWHILE, processor
from photon_triage.models.inference.precision import VARIABLE, best_device, precision_notice
from photon_triage.models.inference.runtime import MEASURED_FRAMES, measured_precisions

State = Literal["ok", "note", "problem"]
MEASURED_MODEL = "hitnet-spi"
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
"""Of a processor's flags, those that decide how fast a network runs."""
LITTLE_MEMORY = 4e9
NEEDED = (1, 32000, 32001, 32004, 32008, 32015)
"""gzip, LZF, Blosc, LZ4, bitshuffle, Zstandard: what detectors and facilities write."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    state: "ok"; "note", worth knowing; "problem", which will cost frames, time or labels. advice: what to do about it.
    """

    subject: str
    state: State
    finding: str
    advice: str = ""


def check_device(device: str | None = None) -> Check:
    """The device that an engine would run on."""
    try:
        chosen = best_device(device)
    except ModelError as error:
        return Check("device", "problem", str(error.message), str(error.hint))
    if chosen.type == "cuda":
        properties = torch.cuda.get_device_properties(chosen)
        return Check(
            "device", "ok", f"{properties.name}, {properties.total_memory / 1e9:.0f} GB, torch {torch.__version__}"
        )
    if chosen.type == "cpu" and device is None and _has_nvidia():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built for the CPU only"
        return Check(
            "device",
            "problem",
            f"there is an NVIDIA GPU, but torch {torch.__version__} ({built}) does not see it",
            "Install the CUDA build of torch that fits the driver (`nvidia-smi`), and look at CUDA_VISIBLE_DEVICES.",
        )
    return Check("device", "ok", f"{chosen}, torch {torch.__version__}")


def check_precision(device: str | None = None) -> Check:
    """How fast the shipped network is in float32 and in bfloat16, measured, and what an engine does about it."""
    try:
        chosen = best_device(device)
    except ModelError:
        return Check("precision", "problem", "not measured: there is no such device")
    model = open_network(str(shipped_models()[MEASURED_MODEL].path)).model
    assert isinstance(model, Darknet)
    batch = torch.rand(MEASURED_FRAMES, model.in_channels, *model.input_size)
    seconds = measured_precisions(model, chosen, batch)
    rates = {name: MEASURED_FRAMES / taken for name, taken in seconds.items()}
    measured = ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items())
    finding = f"{MEASURED_MODEL}, frames a second: {measured}"
    try:
        notice = precision_notice(chosen)
    except ModelError as error:
        return Check("precision", "problem", str(error.message), str(error.hint))
    if notice:
        return Check("precision", "note", f"{finding}; {notice}", f"Unset {VARIABLE}.")
    if notices := cpu_notices(chosen):
        return Check("precision", "note", "; ".join((finding, *notices)), "Install another release of torch.")
    if forced := os.environ.get(VARIABLE):
        return Check("precision", "note", f"{finding}; {VARIABLE}={forced}", f"Unset {VARIABLE} to let it be measured.")
    if "bfloat16" in rates and rates["bfloat16"] >= WORTHWHILE * rates["float32"]:
        return Check("precision", "ok", f"{finding}: bfloat16 is taken once it decides alike on the first frames")
    return Check("precision", "ok", f"{finding}: float32 is taken")


def check_cpu() -> Check:
    """The processor, how many cores this process may use, and how many torch does."""
    name, flags = processor()
    allowed, threads = _allowed_cores(), torch.get_num_threads()
    known = set(flags.split())
    features = ", ".join(feature for feature in FEATURES if feature in known) or "no vector units known of"
    finding = f"{name}, {allowed} cores for this process, {threads} threads, {features}"
    if threads > allowed:
        return Check("processor", "problem", finding, f"Threads wait for each other: set OMP_NUM_THREADS={allowed}.")
    if threads == 1 and allowed > 1:
        return Check(
            "processor", "note", finding, f"Networks run on one core: unset OMP_NUM_THREADS, or set it to {allowed}."
        )
    if flags and not known & {"avx2", "avx512f", "asimd"}:
        return Check("processor", "note", finding, "Without AVX2 networks are slow here: use another host or a GPU.")
    return Check("processor", "ok", finding)


def check_memory() -> Check:
    """How much memory is free."""
    free = _free_memory()
    if free is None:
        return Check("memory", "note", "the system does not say how much is free")
    finding = f"{free / 1e9:.1f} GB free"
    if free < LITTLE_MEMORY:
        return Check("memory", "note", finding, "Large frames need some GB: end other programs, or use another host.")
    return Check("memory", "ok", finding)


def _has_nvidia() -> bool:
    return any(Path("/proc/driver/nvidia/gpus").glob("*"))


def _allowed_cores() -> int:
    """Cores of this process: its affinity, less what a container's quota (cgroup v2, cpu.max) leaves of it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(min(cores, round(int(quota) / int(period))), 1)
    except (OSError, ValueError):
        return cores


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


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
