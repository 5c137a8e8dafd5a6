"""Text that came from a file, made safe to show on a terminal or a page."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c\u2028\u2029\ud800-\udfff]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def safe_text(s: str) -> str:
    """The text with everything that could steer a terminal shown as a visible escape.

    C0, DEL, C1, bidirectional controls, line separators and surrogates (bytes of a name that are not UTF-8) are
    replaced; everything else stays as it is.
    """
    return _UNSAFE.sub(_escape, s)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _NAMED:
        return _NAMED[character]
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
