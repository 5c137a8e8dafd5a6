"""HDF5 files as each facility writes them, small: one builder for each row of conventions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from tests.builders.detector_files import JOULE_PER_EV, make_old

MODULE = (32, 48)


def write_cheetah_cxi(path: Path, frames: Any, *, mask: Any = None, corrected: bool = False) -> Path:
    """Cheetah at the LCLS: the data below the detector, data_1 a soft link to it, masks beside it, energies in eV."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 140
        detector = file.create_group("entry_1/instrument_1/detector_1")
        place = "detector_corrected/data" if corrected else "data"
        detector.create_dataset(place, data=frames, chunks=(1, *frames.shape[1:]), compression="gzip", shuffle=True)
        if mask is not None:
            detector["mask"] = mask
        if not corrected:
            file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
        detector["x_pixel_size"] = 1.1e-4
        detector["distance"] = 0.093
        file["LCLS/photon_energy_eV"] = np.full(len(frames), 9500.0)
        peaks = file.create_group("entry_1/result_1")
        peaks["nPeaks"] = np.full(len(frames), 3)
        peaks["peakXPosRaw"] = np.zeros((len(frames), 2048))
    return make_old(path)


def write_spi_cxi(path: Path, frames: Any, *, number: int = 1) -> Path:
    """The images of spi_processing: entry_1/image_<k>/data, one mask, the beam's place."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 140
        image = file.create_group(f"entry_1/image_{number}")
        image.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), maxshape=(None, *frames.shape[1:]))
        mask = np.zeros(frames.shape[1:], "u2")
        mask[2, 3] = 1
        image["mask"] = mask
        image["image_center"] = [20.5, 10.25, 0.0]
        file["entry_1/instrument_1/source_1/energy"] = 1200 * JOULE_PER_EV
    return make_old(path)


def write_virtual_cxi(
    path: Path, modules: Sequence[Path | None], frames: int, *, raw: bool = False, missing_from: int | None = None
) -> Path:
    """EXtra-data's virtual file over the modules' files; None: a module without a file, which the mask tells.

    missing_from: a frame from which the last module has no data.
    """
    axes = "experiment_identifier:module_identifier:" + ("data_gain:" if raw else "") + "y:x"
    inner = (2, *MODULE) if raw else MODULE
    data = h5py.VirtualLayout((frames, len(modules), *inner), "u2" if raw else "f4")
    mask = h5py.VirtualLayout((frames, len(modules), *MODULE), "u4")
    for number, source in enumerate(modules):
        if source is None:
            continue
        kept = frames if missing_from is None or number + 1 < len(modules) else missing_from
        place = f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{number}CH0:xtdf/image"
        data[:kept, number] = h5py.VirtualSource(source.name, f"{place}/data", (frames, *inner))[:kept]
        if not raw:
            mask[:kept, number] = h5py.VirtualSource(source.name, f"{place}/mask", (frames, *MODULE))[:kept]
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file["cxi_version"] = [150]
        file["entry_1/trainId"] = np.arange(frames)
        file["entry_1/pulseId"] = np.arange(frames)
        detector = file.create_group("entry_1/instrument_1/detector_1")
        fill = 0 if raw else np.nan
        detector.create_virtual_dataset("data", data, fillvalue=fill).attrs["axes"] = axes
        if not raw:
            detector.create_virtual_dataset("mask", mask, fillvalue=0xFFFFFFFF)
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    return make_old(path)


def write_euxfel(folder: Path, module: int, frames: Any, *, raw: bool = False, trains: int = 2, spare: int = 0) -> Path:
    """One module of an XTDF detector: INDEX, METADATA and INSTRUMENT; spare: rows behind the last train's."""
    path = folder / f"{'RAW' if raw else 'CORR'}-R0238-AGIPD{module:02}-S00000.h5"
    count, source = len(frames), f"SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf"
    data = np.stack([frames, np.full_like(frames, 7)], axis=1).astype("u2") if raw else frames.astype("f4")
    data = np.concatenate([data, np.zeros((spare, *data.shape[1:]), data.dtype)])
    with h5py.File(path, "w") as file:
        file["METADATA/dataFormatVersion"] = [b"1.2"]
        file["METADATA/runNumber"] = np.array([238], "u4")
        file["INDEX/trainId"] = np.arange(10000, 10000 + trains, dtype="u8")
        each = count // trains
        file[f"INDEX/{source}/image/first"] = np.arange(trains, dtype="u8") * each
        file[f"INDEX/{source}/image/count"] = np.full(trains, each, "u8")
        image = file.create_group(f"INSTRUMENT/{source}/image")
        image.create_dataset("data", data=data, chunks=(1, *data.shape[1:]))
        image["trainId"] = np.repeat(np.arange(10000, 10000 + trains, dtype="u8"), each)
        if not raw:
            mask = np.zeros(data.shape, "u4")
            mask[:, 1, 2] = 0x10000
            image.create_dataset("mask", data=mask, chunks=(1, *data.shape[1:]), compression="gzip")
            image["gain"] = np.zeros(data.shape, "u1")
        file[f"INSTRUMENT/{source}/detector/data"] = np.zeros((trains, 5408), "u1")
    return make_old(path)


def write_euxfel_jungfrau(path: Path, frames: Any, *, trains: int) -> Path:
    """A JUNGFRAU in burst mode: data/adc of (train, memory cell, y, x)."""
    source = "SPB_IRDA_JF4M/DET/JNGFR03:daqOutput"
    with h5py.File(path, "w") as file:
        file["METADATA/runNumber"] = np.array([12], "u4")
        file["INDEX/trainId"] = np.arange(trains)
        file[f"INDEX/{source}/data/first"] = np.arange(trains)
        file[f"INDEX/{source}/data/count"] = np.ones(trains, "u8")
        group = file.create_group(f"INSTRUMENT/{source}/data")
        cells = frames.reshape(trains, -1, *frames.shape[1:]).astype("u2")
        group.create_dataset("adc", data=cells, chunks=(1, *cells.shape[1:]))
        group["gain"] = np.zeros(cells.shape, "u1")
    return make_old(path)


def write_nxmx_axes(path: Path, data: Any, *, modules: bool) -> Path:
    """NXmx with four axes: (image, module, y, x), or (image, energy channel, y, x) as EIGER2 detectors since 2024."""
    with h5py.File(path, "w") as file:
        file.attrs["default"] = "entry"
        entry = file.create_group("entry")
        entry.attrs.update({"NX_class": "NXentry", "default": "data"})
        entry["definition"] = "NXmx"
        group = entry.create_group("data")
        group.attrs.update({"NX_class": "NXdata", "signal": "data"})
        group.create_dataset("data", data=data, chunks=(1, *data.shape[1:]), **hdf5plugin.Bitshuffle(cname="lz4"))
        detector = entry.create_group("instrument/detector")
        detector.attrs["NX_class"] = "NXdetector"
        mask = np.zeros(data.shape[1:] if modules else data.shape[2:], "u4")
        mask[..., 4, 5] = 1 << 31
        detector["pixel_mask"] = mask
        module = detector.create_group("module")
        module.attrs["NX_class"] = "NXdetector_module"
        module["data_size"] = [1, *data.shape[2:]] if modules else list(data.shape[2:])
        detector["distance"] = 180.0
        detector["distance"].attrs["units"] = "mm"
        detector["beam_center_x"], detector["beam_center_y"] = 2.25, 1.5
        for axis in "xy":
            detector[f"beam_center_{axis}"].attrs["units"] = "mm"
            detector[f"{axis}_pixel_size"] = 75e-6
        energy = entry.create_dataset("instrument/beam/incident_energy", data=12.4)
        energy.attrs["units"] = "keV"
    return make_old(path)


def write_nxtomo(path: Path, frames: Any, keys: Sequence[int]) -> Path:
    """NXtomo as Diamond Light Source writes it: flats and darks among the projections, told by image_key."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry1/tomo_entry")
        file["entry1"].attrs["NX_class"] = "NXentry"
        entry.attrs["NX_class"] = "NXsubentry"
        entry["definition"] = "NXtomo"
        detector = entry.create_group("instrument/detector")
        detector.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]))
        detector["image_key"] = np.asarray(keys)
        detector["distance"] = 0.5
        entry["data/data"] = h5py.SoftLink("/entry1/tomo_entry/instrument/detector/data")
        entry["data/rotation_angle"] = np.linspace(0, 180, len(frames))
    return make_old(path)


def write_data_exchange(path: Path, frames: Any) -> Path:
    """Data Exchange as the Advanced Photon Source writes it: flats and darks apart."""
    with h5py.File(path, "w") as file:
        file["exchange/data"] = frames
        file["exchange/data_white"] = frames[:2] + 50
        file["exchange/data_dark"] = frames[:1] * 0
        file["exchange/theta"] = np.linspace(0, 180, len(frames))
        file["measurement/instrument/monochromator/energy"] = 24.5
        file["measurement/instrument/detector/pixel_size_x"] = 0.65
    return make_old(path)


def write_bliss(path: Path, frames: Any) -> Path:
    """The ESRF's JUNGFRAU: one root group, no definition, facts below instrument/<detector>."""
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry_0000/instrument/jungfrau4m_rr_smx")
        detector.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]))
        file["entry_0000/measurement/data"] = h5py.SoftLink("/entry_0000/instrument/jungfrau4m_rr_smx/data")
        facts = detector.create_group("detector_information")
        facts["x_pixel_size"] = facts["y_pixel_size"] = 75e-6
        facts["detector_distance"] = 0.12
        facts["beam_center_x"], facts["beam_center_y"] = 31.0, 22.0
        mask = np.zeros(frames.shape[1:], "u1")
        mask[5, 6] = 1
        facts["pixel_mask"] = mask
        detector["beam/incident_wavelength"] = 1.03
    return make_old(path)


def write_lambda(path: Path, frames: Any) -> Path:
    """A half of a Lambda detector, as X-Spectrum's program writes it: micrometres, text in arrays."""
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        detector = entry.create_group("instrument/detector")
        detector.create_dataset("data", data=frames, chunks=(1, *frames.shape[1:]), maxshape=(None, *frames.shape[1:]))
        detector["description"] = np.array([b"Lambda 750K"])
        detector["x_pixel_size"] = [55.0]
        detector["pixel_mask"] = np.zeros((1, *frames.shape[1:]), "u4")
    return make_old(path)


def write_sacla_tags(path: Path, frames: Any, tags: Sequence[int]) -> Path:
    """Cheetah at SACLA: a group of the root for each frame; two detectors' worth of metadata beside them."""
    with h5py.File(path, "w") as file:
        for tag, frame in zip(tags, frames, strict=True):
            file[f"tag-{tag}/data"] = frame
            file[f"tag-{tag}/photon_energy_ev"] = 7300.0
        file["metadata/pixelmask"] = (np.arange(frames[0].size).reshape(frames[0].shape) == 70).astype("u1")
        file["metadata/pixelsize_in_um"] = 50.0
        file["metadata/distance_in_mm"] = 51.5
        file["metadata/posx_in_um"] = np.zeros(8)
    return make_old(path)


def write_sacla_run(path: Path, frames: Any, tags: Sequence[int]) -> Path:
    """DataConvert at SACLA: run_<R>/detector_2d_<N>/tag_<T>/detector_data."""
    with h5py.File(path, "w") as file:
        file["file_info/run_number_list"] = [259782]
        run = file.create_group("run_259782")
        for tag, frame in zip(tags, frames, strict=True):
            run[f"detector_2d_1/tag_{tag}/detector_data"] = frame
        run["detector_2d_1/detector_info/pixel_size_in_micro_meter"] = [50.0, 50.0]
        run["event_info/tag_number_list"] = list(tags)
    return make_old(path)


def write_pal(path: Path, frames: Any) -> Path:
    """PAL-XFEL: R<run>/scan_dat/raymx_data, facts in the header."""
    with h5py.File(path, "w") as file:
        scan = file.create_group("R0041/scan_dat")
        scan.create_dataset("raymx_data", data=frames, chunks=(1, *frames.shape[1:]))
        scan["raymx_header"] = np.zeros(len(frames))
        scan["N"] = np.arange(len(frames))
        scan["photon_wavelength"] = np.full(len(frames), 1.27)
        file["R0041/header/detector_0_distance"] = 110.0
    return make_old(path)


def write_old_cheetah(path: Path, frame: Any, *, place: str = "data/data") -> Path:
    """Cheetah before CXI: a frame a file, two axes, what it found beside it."""
    with h5py.File(path, "w") as file:
        file[place] = frame
        file["LCLS/photon_energy_eV"] = 8000.0
        file["processing/hitfinder/peakinfo"] = np.zeros((40, 4))
    return make_old(path)


def write_photon_counts(path: Path, frames: Any) -> Path:
    """Counted photons of a pnCCD."""
    with h5py.File(path, "w") as file:
        file["photonConverter/pnccdBack/photonCount"] = frames
    return make_old(path)


def write_numbered_virtual(folder: Path, frames: Any, *, per_file: int) -> Path:
    """A virtual data set without an end whose sources are counted by a pattern: part_0.h5, part_1.h5 ..."""
    shape = frames.shape[1:]
    for number, start in enumerate(range(0, len(frames), per_file)):
        with h5py.File(folder / f"part_{number}.h5", "w") as file:
            file.create_dataset("data", data=frames[start : start + per_file], chunks=(1, *shape))
        make_old(folder / f"part_{number}.h5")
    space = h5py.h5s.create_simple((0, *shape), (h5py.h5s.UNLIMITED, *shape))
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), (per_file, *shape), (per_file, *shape))
    source = h5py.h5s.create_simple((per_file, *shape))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"part_%b.h5", b"/data", source)
    with h5py.File(folder / "all.h5", "w", libver="latest") as file:
        place = h5py.h5s.create_simple((0, *shape), (h5py.h5s.UNLIMITED, *shape))
        h5py.h5d.create(file.id, b"images", h5py.h5t.py_create(frames.dtype), place, properties)
    return make_old(folder / "all.h5")
