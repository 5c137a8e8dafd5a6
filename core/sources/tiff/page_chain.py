"""The chain of a TIFF file's pages, walked to its end: a file that is cut short looks like one with fewer pages.

Layout: TIFF 6.0 (Adobe 1992), section 2, and the BigTIFF extension.
"""

from __future__ import annotations

import os
import struct


def whole_chain(path: str, size: int) -> bool:
    """Whether every page's directory lies in the file's `size` bytes, and the last one says that it is the last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, 16, 0)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        count_kind, offset_kind, entry = (f"{order}Q", f"{order}Q", 20) if big else (f"{order}H", f"{order}I", 12)
        (at,) = struct.unpack_from(offset_kind, head, 8 if big else 4)
        seen: set[int] = set()
        while at:
            if at in seen or at >= size:
                return False
            seen.add(at)
            (entries,) = struct.unpack(count_kind, os.pread(descriptor, struct.calcsize(count_kind), at))
            link = at + struct.calcsize(count_kind) + entries * entry
            if link >= size:
                return False
            (at,) = struct.unpack(offset_kind, os.pread(descriptor, struct.calcsize(offset_kind), link))
    except struct.error:
        return False
    finally:
        os.close(descriptor)
    return bool(seen)
