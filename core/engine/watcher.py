"""Following folders from a thread that never touches them: a process does, and it alone may be held up."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from photon_triage.core.common.worker_process import ONE_THREAD, WorkerProcess, receive, send
from photon_triage.core.sources import WatchedFile
from photon_triage.core.sources.watch import FolderWatch

SCAN_S = 1.0
CPU_FACTOR, LONGEST_CPU_REST_S = 20, 3.0
"""A scan is followed by a rest of this many times the processor time that it took, 5 % of a core, but no longer than
this: a new file is to be known within 5 s, however many others there are."""
WALL_FACTOR, LONGEST_REST_S = 2, 10.0
STALLED_S = 2.0
"""Seconds without a sign from which the file system counts as not answering."""
GIVEN_UP_S = 120.0
Found = Callable[[Sequence[WatchedFile], Sequence[str], bool], None]
FILES_AT_ONCE = 1000
"""Files in one message."""
_WORKER = "photon_triage.core.engine.watcher"


class FolderWatcher(threading.Thread):
    """Hands what is new in some folders to `found`, for ever; see FolderWatch for what counts as new.

    found: called from this thread with new or changed files, oldest first, the paths of files that are gone, and
    whether the scan is over. scans: how many are done. problems: why a folder could not be listed. ignored: see
    FolderWatch. failure: what ended the thread.
    """

    def __init__(self, paths: Sequence[Path], found: Found, roots: Sequence[str] = ()) -> None:
        super().__init__(name="watcher", daemon=True)
        self.scans = 0
        self.problems: dict[str, str] = {}
        self.ignored: dict[str, int] = {}
        self.failure: BaseException | None = None
        self._paths, self._found, self._roots = [os.fspath(path) for path in paths], found, list(roots)
        self._closing = threading.Event()
        self._sign: float | None = None
        """When a scan that goes on last gave a sign of life."""
        self._process: WorkerProcess | None = None
        self.stalled_before = 0.0
        """Seconds that the file system did not answer, all together, up to the last time that it did."""

    @property
    def pid(self) -> int | None:
        """The scanning process, None while there is none."""
        process = self._process
        return process.pid if process else None

    @property
    def stalled_s(self) -> float:
        """For how many seconds the file system has not answered; 0 while it does."""
        sign = self._sign
        silent = 0.0 if sign is None else time.monotonic() - sign
        return silent if silent >= STALLED_S else 0.0

    def close(self) -> None:
        """Stop; returns when the thread has ended."""
        self._closing.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Scan and rest; the thread's body."""
        try:
            while not self._closing.is_set():
                self._closing.wait(self._scan())
        except BaseException as error:
            self.failure = error
            raise
        finally:
            if self._process is not None:
                self._process.end()

    def _scan(self) -> float:
        """One scan; returns for how long to rest after it."""
        if self._process is None:
            self._process = WorkerProcess(
                _WORKER,
                [json.dumps(self._paths), json.dumps(self._roots)],
                environment=os.environ | ONE_THREAD,
            )
        began = self._sign = time.monotonic()
        try:
            self._process.send({"do": "scan"})
            answer = self._answer()
            while answer is not None:
                files, gone, over = answer.get("files", ()), answer.get("gone", ()), "cpu_s" in answer
                if files or gone or over:
                    self._found([WatchedFile(*facts) for facts in files], gone, over)
                if over:
                    self.problems, self.ignored = answer["problems"], answer["ignored"]
                    self.scans += 1
                    wall, cpu = time.monotonic() - began, float(answer["cpu_s"])
                    return max(
                        SCAN_S, min(CPU_FACTOR * cpu, LONGEST_CPU_REST_S), min(WALL_FACTOR * wall, LONGEST_REST_S)
                    )
                answer = self._answer()
        except (EOFError, OSError, ValueError):
            pass
        finally:
            self._sign = None
        # It died, or has said nothing for so long that another one may be luckier; what it told is told again.
        self._process.end()
        self._process = None
        return SCAN_S

    def _answer(self) -> dict[str, Any] | None:
        """The scanner's next message, or None where it is closed or given up."""
        assert self._process is not None and self._sign is not None
        while not self._closing.is_set():
            if self._process.has_answer(0.1):
                message = self._process.receive()
                if self.stalled_s:
                    self.stalled_before += self.stalled_s
                self._sign = time.monotonic()
                return message
            if time.monotonic() - self._sign > GIVEN_UP_S:
                return None
        return None


def main(arguments: Sequence[str]) -> None:
    """Answer each request with the files that are new, in parts, until the other side hangs up."""
    paths = [Path(path) for path in json.loads(arguments[1])]
    roots = json.loads(arguments[2])
    with Connection(int(arguments[0])) as connection:
        watch = FolderWatch(paths, roots=roots, alive=lambda: send(connection, {}))
        while True:
            try:
                receive(connection)
                began = time.process_time()
                files = watch.scan()
                for start in range(0, len(watch.gone), FILES_AT_ONCE):
                    send(connection, {"gone": watch.gone[start : start + FILES_AT_ONCE]})
                for start in range(0, len(files), FILES_AT_ONCE):
                    part = [
                        (file.path, file.size, file.mtime_ns, file.device, file.inode)
                        for file in files[start : start + FILES_AT_ONCE]
                    ]
                    send(connection, {"files": part})
                told = {"problems": watch.problems, "ignored": watch.ignored}
                send(connection, {"cpu_s": time.process_time() - began} | told)
            except (EOFError, OSError):
                return


if __name__ == "__main__":
    main(sys.argv[1:])
