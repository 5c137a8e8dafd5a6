"""MRC, CBF, EDF and SMV files as microscopes and beamlines write them, small."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from tests.builders.detector_files import make_old

IMOD_STAMP = 1146047817

PILATUS_HEADER = """# Detector: PILATUS3 6M, S/N 60-0126
# Pixel_size 172e-6 m x 172e-6 m
# Wavelength 0.97625 A
# Detector_distance 0.29147 m
# Beam_xy (1229.30, 1200.48) pixels
# Count_cutoff 91795 counts"""


def write_mrc(path: Path, sections: Any, *, volume: bool = False, extended: bytes = b"", **fields: Any) -> Path:
    """An MRC file of an hour ago; fields: header fields to set, by mrcfile's names."""
    with mrcfile.new(path, overwrite=True) as file:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mrcfile warns of values that are not finite
            file.set_data(sections)
        if sections.ndim == 3 and not volume:
            file.set_image_stack()
        if extended:
            file.set_extended_header(np.frombuffer(extended, "V1"))
            file.header.exttyp = b"FEI1"
        for name, value in fields.items():
            file.header[name] = value
    return make_old(path)


def mark_as_imod(path: Path, *, signed: bool) -> Path:
    """The file with IMOD's stamp, and its word on whether bytes are signed."""
    with path.open("r+b") as raw:
        raw.seek(152)
        raw.write(np.array([IMOD_STAMP, int(signed)], "<i4").tobytes())
    return make_old(path)


def big_endian_mrc(path: Path, sections: Any) -> Path:
    """A stack of float32 or int16 of the other byte order."""
    write_mrc(path, sections)
    raw = path.read_bytes()
    header = np.frombuffer(raw[:1024], mrcfile.dtypes.HEADER_DTYPE)
    swapped = header.astype(header.dtype.newbyteorder(">"))
    swapped["machst"] = [0x11, 0x11, 0, 0]
    path.write_bytes(swapped.tobytes() + sections.astype(sections.dtype.newbyteorder(">")).tobytes())
    return make_old(path)


def write_cbf(path: Path, frame: Any) -> Path:
    """A miniCBF of a PILATUS: byte offset, int32, gaps -1."""
    from fabio.cbfimage import CbfImage

    CbfImage(data=frame, header={"_array_data.header_contents": f'"{PILATUS_HEADER}"'}).write(path)
    return path


def write_edf(path: Path, frames: Any) -> Path:
    """An EDF file of several images."""
    from fabio.edfimage import EdfImage

    file = EdfImage(data=frames[0], header={"SampleDistance": "0.25", "PSize_1": "7.5e-05", "WaveLength": "1e-10"})
    for frame in frames[1:]:
        file.append_frame(data=frame)
    file.write(path)
    return path


def write_smv(path: Path, frame: Any) -> Path:
    """An .img file of an ADSC detector: a text header of 512 bytes, then 16-bit pixels."""
    height, width = frame.shape
    header = (
        f"{{\nHEADER_BYTES=  512;\nDIM=2;\nBYTE_ORDER=little_endian;\nTYPE=unsigned_short;\n"
        f"SIZE1={width};\nSIZE2={height};\nPIXEL_SIZE=0.1024;\nDISTANCE=200.0;\nWAVELENGTH=0.979;\n}}\n"
    )
    path.write_bytes(header.encode().ljust(512) + frame.astype("<u2").tobytes())
    return path
