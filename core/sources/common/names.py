"""The name of the run that a file belongs to, from the file's name."""

from __future__ import annotations

import os
import re

_SEGMENT = re.compile(r"(_master|_data_\d+)$")
_NUMBER = re.compile(r"[_\-.]?\d+$")
_KINDS_OF_RUN = frozenset({"", "run", "scan", "series", "r"})


def run_name(path: str, *, one_of_many: bool) -> str:
    """The run of a file: its name without what counts files within the run.

    one_of_many: the file holds a single frame, so that a number at its name's end counts frames (lysozyme_00012.tif is
    of the run lysozyme); otherwise only the second of two numbers does (run_0001_00012 is of run_0001).
    """
    parent, name = os.path.split(path)
    folder = os.path.basename(parent)  # noqa: PTH119 - for each of many thousand files
    stem = _SEGMENT.sub("", name.rpartition(".")[0] or name)
    shorter = _NUMBER.sub("", stem)
    if shorter == stem:
        return stem
    if not shorter and one_of_many:
        return folder or stem
    if shorter.lower() in _KINDS_OF_RUN or not (one_of_many or _NUMBER.search(shorter)):
        return stem
    return shorter


def printable(text: str) -> str:
    """A text with the bytes that are no UTF-8 shown as \\xNN, so that it can be written anywhere."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character of UTF-16
        raw = text.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")
