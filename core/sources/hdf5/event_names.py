"""What CrystFEL calls the frames of an HDF5 file: the groups that stand for "%", then "//", then indices.

CrystFEL (White et al. 2012) gives an event an index along each axis of frames, of the data set that the geometry names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from photon_triage.core.common.errors import SourceError
from photon_triage.core.sources.common.file_probe import FileState, translated
from photon_triage.core.sources.hdf5.links import OpenFiles
from photon_triage.core.sources.hdf5.stack import FrameStack, Part


def event_names(state: FileState, dataset: str, indices: Sequence[int]) -> list[str]:
    """The names of these frames: //7, //5/2 where two axes count frames, tag-123// where a group holds each.

    Raises SourceError where the file cannot be read, or has no such frame.
    """
    with translated(state.path), OpenFiles(state) as files:
        stack = FrameStack(files, dataset)
        if indices and not 0 <= min(indices) <= max(indices) < stack.frames:
            raise SourceError(f"Reading {state.path}: {dataset} has {stack.frames} frames, not frame {max(indices)}.")
        return list(_names(stack, indices))


def _names(stack: FrameStack, indices: Sequence[int]) -> Iterator[str]:
    if stack.tags:
        for index in indices:
            number, inner = divmod(index, stack.lengths[0])
            groups = zip(stack.path.strip("/").split("/"), stack.tags[number].strip("/").split("/"), strict=True)
            yield "/".join(name for pattern, name in groups if pattern == "%") + "//" + _place(stack.leader, inner)
    elif len(stack.lengths) > 1:  # one stack of many data sets, as the master file shows it
        yield from (f"//{index}" for index in indices)
    else:
        yield from (f"//{_place(stack.leader, index) or 0}" for index in indices)


def _place(part: Part, frame: int) -> str:
    """The index along each axis of frames, "" where there is none."""
    image = frame if part.positions is None else int(part.positions[frame])
    lengths = [part.view.shape[axis] for axis in part.view.frames]
    return "/".join(str(int(place)) for place in np.unravel_index(image, lengths)) if lengths else ""
