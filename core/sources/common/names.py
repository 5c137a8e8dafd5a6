"""Names: what the name of a file tells of it, the order of names, and names that are no text."""

from __future__ import annotations

import os
import re
from pathlib import Path

from photon_triage.core.common.errors import SourceError

_NUMBERS = re.compile(r"(\d+)")
_KINDS = {
    "a dark": "dark darks darkfield darkfields darkframe darkframes darkcurrent darkimage darkimages darkend pedestal "
    "pedestals df",
    "a flat field": "flat flats flatfield flatfields flatimage flatimages white whites whitefield whitefields ff "
    "bright brightfield openbeam ob ref refs refhst reference references",
    "a background": "bg bgs bkg bkgs background backgrounds empty emptybeam",
}

_KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}

_FIELD = ("field", "fields", "frame", "frames", "current", "image", "images", "img", "beam")

_OTHERS = "avg average averaged mean median sum before after begin end start pre post raw corr data master ms sec us of"

_QUALIFIERS = frozenset((*_FIELD, *_OTHERS.split(), "tomo", "scan", "exp", "det"))
"""Words that may follow without making another thing of it."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

_SEGMENT = re.compile(r"(_master|_data_\d+)$")
_RUN_NUMBER = re.compile(r"[_\-.]?\d+$")
_KINDS_OF_RUN = frozenset({"", "run", "scan", "series", "r"})


def calibration_name(path: str) -> str:
    """What a file is by its name ("a dark", "a flat field", "a background"), "" where the name says nothing.

    The name says it where the last of its words that is no number and no qualifier is one of those: dark_00001,
    scan2_flats_0003, FlatField, ref0000_0000; but not dark_sample_01. Single letters and numbers do not count.
    """
    words = [word.lower() for word in _WORD.findall(Path(path).name.split(".")[0])]
    joined: list[str] = []
    for word in words:
        if joined and word in _FIELD and joined[-1] + word in _KIND_OF:
            joined[-1] += word
        else:
            joined.append(word)
    for word in reversed(joined):
        if word in _KIND_OF:
            return _KIND_OF[word]
        if word not in _QUALIFIERS and len(word) > 1:
            return ""
    return ""


def require_frames(path: str, *, any_image: bool) -> None:
    """SourceError for a file whose name says that it is a flat, a dark or the like; any_image: take it all the same."""
    kind = "" if any_image else calibration_name(path)
    if kind:
        raise SourceError(
            f"Reading {path}: it holds no frames: {kind} (the file's name says so).",
            "If it holds frames, give it a name without that word.",
        )


def run_name(path: str, *, one_of_many: bool) -> str:
    """The run of a file: its name without what counts files within the run.

    one_of_many: the file holds a single frame, so that a number at its name's end counts frames (lysozyme_00012.tif is
    of the run lysozyme); otherwise only the second of two numbers does (run_0001_00012 is of run_0001).
    """
    parent, name = os.path.split(path)
    folder = os.path.basename(parent)  # noqa: PTH119 - for each of many thousand files
    stem = _SEGMENT.sub("", name.rpartition(".")[0] or name)
    shorter = _RUN_NUMBER.sub("", stem)
    if shorter == stem:
        return stem
    if not shorter and one_of_many:
        return folder or stem
    if shorter.lower() in _KINDS_OF_RUN or not (one_of_many or _RUN_NUMBER.search(shorter)):
        return stem
    return shorter


def printable(text: str) -> str:
    """A text with the bytes that are no UTF-8 shown as \\xNN, so that it can be written anywhere."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character of UTF-16
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")


def natural_order(text: str) -> list[tuple[int, str]]:
    """A sorting key under which frame_9 comes before frame_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(text)]
