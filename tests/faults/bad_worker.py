"""The reader's worker, but that some files do to it what damaged files have done to HDF5: named in their names.

Started in the place of the worker, with the same arguments. `FAULTS_LOG` names a file that gets a line for each time.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from pathlib import Path
from typing import Any

from photon_triage.core.sources.process import worker

_answer, _surveyed = worker.Worker.answer, worker.Worker._surveyed


def _do(what: str) -> None:
    match what:
        case "crash":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "leave":
            os._exit(3)
        case "hang":
            threading.Event().wait()
        case "spin":
            while True:
                pass
        case "greedy":
            bytearray(2**40)


def answer(self: worker.Worker, request: dict[str, Any]) -> dict[str, Any]:
    step = request["do"] if request["do"] != "read" else f"read{request['ranges'][0][0]}"
    _go_wrong(request["path"], [step])
    return _answer(self, request)


def surveyed(self: worker.Worker, path: str, request: dict[str, Any], *more: Any) -> Any:
    """The survey of a file, which reads the frames of a small one too."""
    _go_wrong(path, ["inspect", *(["read0", "read20", "read40"] if request["read_bytes"] else [])])
    return _surveyed(self, path, request, *more)


def _go_wrong(path: str, steps: list[str]) -> None:
    what, _, when = Path(path).stem.partition("-")
    if when and any(step.startswith(when) for step in steps):
        with Path(os.environ["FAULTS_LOG"]).open("a") as log:
            log.write(f"{Path(path).name} {os.getpid()}\n")
        _do(what)


if __name__ == "__main__":
    worker.Worker.answer = answer  # type: ignore[method-assign]
    worker.Worker._surveyed = surveyed  # type: ignore[method-assign, assignment]
    worker.main(sys.argv[1:])
