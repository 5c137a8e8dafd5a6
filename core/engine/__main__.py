"""`python -m photon_triage.core.engine JOB`: the engine's process. JOB is JSON, made by `start_engine`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from photon_triage.core.engine.process import lock_session
from photon_triage.core.errors import TriageError
from photon_triage.core.session.results import ResultsWriter
from photon_triage.core.session.session import Session


def main(argument: str) -> int:
    """Run an engine until it ends; its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    log = logging.getLogger("photon_triage.engine")
    job = json.loads(argument)
    session = Session.open(job["session"])
    lock_session(session)
    results = ResultsWriter(session.results_path)
    started = {"pid": os.getpid(), "host": os.uname().nodename, "started": time.time(), "heartbeat": time.time()}
    results.set_state(started | {"status": "starting", "message": "", "queue": 0, "rate_hz": 0.0, "lag_s": 0.0})
    try:
        # torch takes seconds to import: the screen must know before that an engine is on its way.
        from photon_triage.core.engine.pipeline import Engine

        paths = [Path(path) for path in job["paths"]]
        engine = Engine(session, paths, results, once=job["once"], patience=job["patience"], device=job.get("device"))
        signal.signal(signal.SIGTERM, lambda *_: engine.stop())
        signal.signal(signal.SIGINT, lambda *_: engine.stop())
        log.info("watching %s", ", ".join(map(str, paths)))
        engine.run()
    except BaseException as error:
        log.exception("the engine ends")
        reason = str(error) if isinstance(error, TriageError | ValueError) else f"{type(error).__name__}: {error}"
        results.set_state({"status": "failed", "message": reason, "heartbeat": time.time()})
        return 1
    finally:
        results.close()
    log.info("the engine ends")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
