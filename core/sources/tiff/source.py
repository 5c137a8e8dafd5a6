"""TIFF files: what is in them."""

from __future__ import annotations

import json
import math
import re
from contextlib import ExitStack
from typing import Any

from photon_triage.core.common.errors import ErrorKind
from photon_triage.core.frames import GEOMETRY_FIELDS, Geometry
from photon_triage.core.sources.common.file_probe import ABANDONED, STABLE, FileState, translated, waited_for
from photon_triage.core.sources.common.info import Alternative, ProbeOptions, SourceInfo, StackLayout
from photon_triage.core.sources.common.names import require_frames, run_name
from photon_triage.core.sources.common.text_headers import text_geometry
from photon_triage.core.sources.tiff.pages import OpenPages, whole_chain
from photon_triage.core.sources.tiff.plain import PlainPage, plain_page

_SIMULATED = "photon_triage_simulated"
_EVERY_PAGE = "every page of the TIFF file is a frame"
_OTHER_FILE = re.compile(r'FileName="([^"]*)"')


def probe(state: FileState, options: ProbeOptions) -> tuple[SourceInfo, OpenPages | PlainPage]:
    """What a TIFF file holds, and its frames, open for reading.

    Raises SourceError, and NotYetError while it is shorter than its pages say.
    """
    require_frames(state.path, any_image=options.any_image)
    with translated(state.path), ExitStack() as opened:
        pages = open_frames(state)
        opened.callback(pages.close)
        text = pages.description
        facts = _facts(text)
        available, count = pages.available(), len(pages)
        run = facts.get("run")
        geometry, unclear = text_geometry("DECTRIS", text) if text.startswith("#") else (_geometry(facts), ())
        layout, reason = "TIFF", _EVERY_PAGE
        notes: tuple[str, ...] = ()
        others: tuple[Alternative, ...] = ()
        if isinstance(pages, OpenPages):
            if not whole_chain(state.path, state.size):
                raise waited_for(state.path, "truncated file, its last page is missing", state.age, ErrorKind.TRUNCATED)
            layout, reason, notes = _layout(pages.first), _reason(pages), tuple(_notes(pages, text))
            others = tuple(group.told() for group in pages.groups if options.explain and group is not pages.group)
        info = SourceInfo(
            path=state.path,
            format="TIFF",
            layout=layout,
            dataset="",
            frames=count,
            available=available,
            complete=(available == count and (count == 1 or state.age >= STABLE)) or state.age >= ABANDONED,
            shape=pages.shape,
            dtype=pages.dtype.name,
            compression=pages.compression,
            mask=None,
            geometry=geometry,
            simulated=bool(facts.get(_SIMULATED)),
            run=run if isinstance(run, str) and run else run_name(state.path, one_of_many=count == 1),
            reason=reason,
            notes=(*notes, *unclear),
            alternatives=others,
        )
        opened.pop_all()  # the file stays open, for reading
        return info, pages


def open_frames(state: FileState, dataset: str = "", layout: StackLayout | None = None) -> OpenPages | PlainPage:
    """The frames of a TIFF file, open until closed."""
    with translated(state.path):
        page = plain_page(state)
        return OpenPages(state) if page is None else page


def _layout(page: Any) -> str:
    kinds = {"ImageJ": page.is_imagej, "OME-TIFF": page.is_ome, "MetaMorph STK": page.is_stk, "LSM": page.is_lsm}
    return next((name for name, is_it in kinds.items() if is_it), "TIFF")


def _reason(pages: OpenPages) -> str:
    if len(pages.groups) == 1:
        return _EVERY_PAGE
    return f"of {len(pages.groups)} kinds of page, those of {pages.shape[0]} x {pages.shape[1]} hold the most pixels"


def _notes(pages: OpenPages, text: str) -> list[str]:
    """How the frames were made of the pages."""
    first, notes = pages.first, pages.left_out()
    promised = pages.promised
    if promised > len(pages):
        notes.append(f"the description promises {promised} images, and the file has {len(pages)}")
    if not pages.has_own_pages:
        notes.append("the images behind the first have no pages of their own")
    if pages.group.planes > 1:
        notes.append(f"each page holds {pages.group.planes} images")
    elif int(first.samplesperpixel) > 1:
        notes.append("transparency is passed over")
    if int(first.photometric) == 0:
        notes.append("the file says that white is zero: values are as they are stored")
    if int(first.photometric) == 3:
        notes.append("a colour table is passed over: values are as they are stored")
    if int(first.bitspersample) % 8:
        notes.append(f"pixels of {first.bitspersample} bits are read as {pages.dtype.name}")
    others = set(_OTHER_FILE.findall(text)) if first.is_ome else set()
    if len(others) > 1:
        notes.append(f"one of {len(others)} files of an OME data set: each is read by itself")
    return notes


def _facts(text: str) -> dict[str, Any]:
    """The JSON object in a page's description, empty where it is something else."""
    try:
        facts = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _geometry(facts: dict[str, Any]) -> Geometry:
    values = {}
    for name in GEOMETRY_FIELDS:
        value = facts.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            values[name] = float(value)
    return Geometry(**values)
