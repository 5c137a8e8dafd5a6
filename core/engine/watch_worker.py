"""The process that looks into folders: a file system that does not answer holds it up, and nothing else.

Started as `python -m photon_triage.core.engine.watch_worker SOCKET PATHS ROOTS`: a socket's descriptor, and
JSON of what to look into and of the folders to which links may lead.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from photon_triage.core.sources.process.channel import receive, send
from photon_triage.core.sources.watch import FolderWatch

FILES_AT_ONCE = 1000


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
