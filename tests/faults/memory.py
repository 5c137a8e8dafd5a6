"""How much memory the readers of this process have ever had."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from types import TracebackType


class HighWater:
    """Looks, while the block lasts, at the processes that this one has started, and remembers the most of each figure.

    most_virtual, most_resident: bytes, of any one of them. open_below: files under `folder` that one held open at once.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.most_virtual = self.most_resident = self.open_below = 0
        self._folder = folder
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> HighWater:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.01):
            for pid in children():
                try:
                    self._take(Path(f"/proc/{pid}"))
                except (OSError, KeyError):  # it ends just now
                    continue

    def _take(self, process: Path) -> None:
        told = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if line[:2] == "Vm")
        self.most_virtual = max(self.most_virtual, int(told["VmPeak"].split()[0]) * 1024)
        self.most_resident = max(self.most_resident, int(told["VmHWM"].split()[0]) * 1024)
        if self._folder is not None:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
            self.open_below = max(self.open_below, sum(link.startswith(f"{self._folder}/") for link in links))


def children(of: int | None = None) -> list[int]:
    """The processes that one has started, this one if none is named."""
    found: list[int] = []
    for task in Path(f"/proc/{of or os.getpid()}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:  # the thread ends just now
            continue
    return found


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    told = Path(f"/proc/{pid}/statm").read_text().split()
    return int(told[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_s(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_most() -> int:
    """The most memory that this process has ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
