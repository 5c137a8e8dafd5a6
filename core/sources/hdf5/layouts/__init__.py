"""Where frames live in the files of each facility: one module a family of conventions, asked in this order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from photon_triage.core.common.errors import MissingError, SourceError
from photon_triage.core.sources.common.file_probe import waited_for
from photon_triage.core.sources.hdf5.layouts import cxi, facilities, nexus, search
from photon_triage.core.sources.hdf5.layouts.layout import SMALLEST_SIDE, Layout
from photon_triage.core.sources.hdf5.links import OpenFiles, text

RECOGNISERS: tuple[Callable[[OpenFiles], Layout | None], ...] = (
    cxi.recognise,
    facilities.recognise_euxfel,
    nexus.recognise_nxtomo,
    facilities.recognise_data_exchange,
    nexus.recognise,
    facilities.recognise_sacla_tags,
    facilities.recognise_sacla_run,
    facilities.recognise_pal,
    facilities.recognise_swissfel,
    facilities.recognise_old_cheetah,
    facilities.recognise_photon_converter,
)
_END_MARKERS = ("entry_1/end_time", "entry/end_time")
_MOST_REFUSED = 3


def ended(files: OpenFiles) -> bool:
    """Whether the file says that its run is over.

    Ask this before anything else is read: what is opened afterwards is then at least as new as the answer.
    """
    return any(text(files.optional(place)) for place in _END_MARKERS)


def simulated(files: OpenFiles) -> bool:
    """Whether the file says that it was simulated."""
    try:
        return bool(files.main.attrs["simulated"])
    except (KeyError, OSError, RuntimeError, ValueError, TypeError):
        return False


def find_layout(files: OpenFiles, *, any_image: bool = False) -> Layout:
    """The first convention that the file follows; NotYetError or SourceError where there are no frames in it.

    any_image: take a mask or a dark too, where there is nothing else.
    """
    for recognise in RECOGNISERS:
        layout = recognise(files)
        if layout is not None:
            return layout
    layout = search.recognise(files, any_image=any_image)
    if layout is not None:
        return layout
    raise _without_frames(files)


def named_layout(files: OpenFiles, dataset: str) -> Layout:
    """The layout of a data set that the caller names, with the mask and geometry of the file's convention."""
    reason = "it was named"
    for recognise in RECOGNISERS:
        try:
            layout = recognise(files)
        except SourceError:
            continue
        if layout is not None:
            return layout if layout.dataset == dataset else replace(layout, dataset=dataset, reason=reason, notes=())
    return Layout("named data set", dataset, reason)


def _without_frames(files: OpenFiles) -> SourceError:
    path = files.state.path
    if files.dangling:
        return MissingError(
            f"Reading {path}: it links to {files.dangling[0]}, which is not there yet.",
            "Without it the file holds no frames.",
        )
    refused = [
        f"{other.path} {'x'.join(str(side) for side in other.shape)} {other.dtype}: {other.refused}"
        for other in search.others(files, "")
        if other.refused
    ]
    reason = f"it holds no frames: no numeric data set whose last two axes are {SMALLEST_SIDE} or more"
    if refused:
        reason += f"; refused were {'; '.join(refused[:_MOST_REFUSED])}"
    if files.remarks:
        reason += f"; {'; '.join(files.remarks)}"
    waited = waited_for(path, reason, files.state.age)
    if type(waited) is SourceError:
        return SourceError(
            f"Reading {path}: {reason}.", "Name a data set (--dataset, or dataset in the recipe's [source])."
        )
    return waited
