"""A disk that fails on demand: in the processes started while it is at hand, and below some paths."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

FULL = (errno.ENOSPC, errno.EDQUOT)


class Disk:
    """The other end of inject.c."""

    def __init__(self, folder: Path, below: Sequence[Path]) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler to make a disk fail with")
        library, control = folder / "inject.so", folder / "inject.control"
        source = str(Path(__file__).with_name("inject.c"))
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        control.write_bytes(bytes(mmap.PAGESIZE))
        with control.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAULTS_CONTROL": str(control),
            "FAULTS_BELOW": ":".join(map(str, below)),
        }

    @property
    def failed(self) -> int:
        """How many calls have failed."""
        return int(struct.unpack_from("i", self._control, 8)[0])

    def fail(self, number: int) -> None:
        """From now on with this errno: every write, or for a full disk and quota those that need more space."""
        struct.pack_into("i", self._control, 4, number not in FULL)
        struct.pack_into("i", self._control, 0, number)

    def heal(self) -> None:
        """No more."""
        struct.pack_into("i", self._control, 0, 0)


@contextmanager
def failing_disk(monkeypatch: pytest.MonkeyPatch, folder: Path, below: Sequence[Path]) -> Iterator[Disk]:
    """A disk that may be told to fail; what is started within the block writes on it."""
    disk = Disk(folder, below)
    with monkeypatch.context() as patch:
        for name, value in disk.environment.items():
            patch.setenv(name, value)
        yield disk
    disk.heal()


def name_of(number: int) -> str:
    """ENOSPC and the like."""
    return f"{errno.errorcode[number]} ({os.strerror(number)})"
