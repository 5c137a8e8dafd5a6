"""Virtual data sets of frames that lie in other HDF5 files.

What such a data set names is not touched when it is written. HDF5 reads zeros where it finds nothing, and can take all
memory where it finds data of other axes. So another process looks at what is named, and reads a frame of each file
back, which is held against the frame itself.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from photon_triage.core.common.errors import ExportError
from photon_triage.core.common.index_ranges import runs
from photon_triage.core.export.list_content import pixels
from photon_triage.core.sources import FrameReader

if TYPE_CHECKING:
    from photon_triage.core.export.spi_cxi import FilePart

READ_BACK_S = 60.0
MEMORY_LIMIT = 4 * 2**30
_READER = "photon_triage.core.export.virtual_cxi"


def virtual_layout(parts: Sequence[FilePart], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Any:
    """The layout of a virtual data set (n, height, width) of the parts' frames, one after the other.

    Raises ExportError for a file that is not HDF5, or whose frames do not lie in one data set (frame, y, x).
    """
    layout = h5py.VirtualLayout(shape, dtype)
    place = 0
    for part in parts:
        _require_plain(part)
        name = part.info.path.replace("%", "%%")
        source = h5py.VirtualSource(name, part.info.dataset, (part.info.frames, *shape[1:]), dtype)
        for start, stop in runs(part.indices):
            layout[place : place + stop - start] = source[start:stop]
            place += stop - start
    return layout


def check_virtual(path: Path, groups: Sequence[tuple[str, Sequence[FilePart]]], reader: FrameReader) -> None:
    """Raise ExportError where the first frame of a file does not come back out of the virtual data sets."""
    wanted, expected, files = [], [], []
    for group, parts in groups:
        place = 0
        for part in parts:
            wanted.append((f"{group}/data", place))
            expected.append(_digest(next(pixels(reader, part.file, part.indices[:1]))[0]))
            files.append(part.file.path)
            place += len(part.rows)
    answer = _read_back(path, wanted)
    if "misfit" in answer:
        raise _refused(answer["file"], answer["misfit"])
    for file, here, there in zip(files, expected, answer["digests"], strict=True):
        if here != there:
            raise _refused(file, "other pixels come back out of it")


def _read_back(path: Path, wanted: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """The `digests` of frames of a file, read by another process; or a `file` that cannot stand in it, and why."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", _READER, str(path)],
            input=json.dumps(list(wanted)),
            capture_output=True,
            text=True,
            timeout=READ_BACK_S,
            check=True,
        )
        return dict(json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise _refused(str(path), f"its reader ended with {type(error).__name__}") from error


def _require_plain(part: FilePart) -> None:
    reason = ""
    if part.info.format != "HDF5":
        reason = f"it is a {part.info.format} file, and a virtual data set takes frames from HDF5 files alone"
    elif "%" in part.info.dataset:
        reason = "each of its frames lies in a data set of its own"
    elif part.info.frame_axes:
        reason = f"its frames are counted along {len(part.info.frame_axes)} axes"
    elif not part.info.path.isprintable():
        reason = "its name holds a line break or another control character"
    if reason:
        raise _refused(part.file.path, reason)


def _refused(path: str, reason: str) -> ExportError:
    return ExportError(
        f"Could not put the frames of {path} into a virtual data set: {reason}.",
        "Export with --copy, which writes the frames themselves.",
    )


def _digest(frame: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()


def _answer(path: str) -> None:
    """Print the digests of the frames that stdin names, as JSON: [data set, index] each."""
    import resource

    import hdf5plugin  # noqa: F401  # the filters of the files that the data set names

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    with h5py.File(path, "r", locking=False) as file:
        wanted = json.load(sys.stdin)
        answer = next(filter(None, (_misfit(file[name]) for name in {name for name, _ in wanted})), None)
        answer = answer or {"digests": [_digest(file[name][index]) for name, index in wanted]}
    sys.stdout.write(json.dumps(answer))


def _misfit(data: Any) -> dict[str, Any] | None:
    """A source of a virtual data set (n, height, width) that does not hold such frames, and what is wrong with it."""
    for escaped, dataset in {(each.file_name, each.dset_name) for each in data.virtual_sources()}:
        name = escaped.replace("%%", "%")
        with h5py.File(name, "r", locking=False) as file:
            source = file.get(dataset)
            if not isinstance(source, h5py.Dataset):
                return {"file": name, "misfit": f"{dataset} is no data set"}
            if source.ndim != data.ndim or source.shape[1:] != data.shape[1:]:
                misfit = f"{dataset} has the shape {source.shape}, and frames of {data.shape[1:]} are wanted"
                return {"file": name, "misfit": misfit}
    return None


if __name__ == "__main__":
    _answer(sys.argv[1])
