"""`python -m photon_triage.core.engine JOB`: the engine's process. JOB is JSON, made by `start_engine`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from pathlib import Path

from photon_triage.core.containment import foreign_entry, report
from photon_triage.core.engine.process import lock_session, refuse_second_host
from photon_triage.core.engine.recording import Recorder
from photon_triage.core.errors import TriageError
from photon_triage.core.session.session import Session
from photon_triage.core.session.writer import ResultsWriter, refusal

log = logging.getLogger("photon_triage.engine")


def main(argument: str) -> int:
    """Run an engine until it ends; its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.raiseExceptions = False  # a log on a full disk is no reason to stop
    job = json.loads(argument)
    session = Session.open(job["session"])
    try:
        lock_session(session)
        refuse_second_host(session)
        results = Recorder(ResultsWriter(session.results_path))
    except (TriageError, OSError) as error:
        log.error("the engine does not begin: %s", error)
        return 1
    started = {"pid": os.getpid(), "host": os.uname().nodename, "started": time.time(), "heartbeat": time.time()}
    results.set_state(started | {"status": "starting", "message": "", "queue": 0, "rate_hz": 0.0, "lag_s": 0.0})
    try:
        # torch takes seconds to import: the screen must know before that an engine is on its way.
        from photon_triage.core.engine.pipeline import Engine

        paths = [Path(path) for path in job["paths"]]
        if foreign := foreign_entry(session.recovered_path, session.path):
            report(foreign)
            session.recovered_path = session.path / "recovered.refused"  # not there: nothing is read from it
        engine = Engine(
            session,
            paths,
            results,
            once=job["once"],
            patience=job["patience"],
            device=job.get("device"),
            alarm_command=job.get("alarm_command", ()),
        )
        signal.signal(signal.SIGTERM, lambda *_: engine.stop())
        signal.signal(signal.SIGINT, lambda *_: engine.stop())
        log.info("watching %s", ", ".join(map(str, paths)))
        engine.run()
    except BaseException as error:
        log.exception("the engine ends")
        with suppress(Exception):
            results.set_state({"status": "failed", "message": _reason(session, error), "heartbeat": time.time()})
        return 1
    finally:
        results.close()
    log.info("the engine ends")
    return 0


def _reason(session: Session, error: BaseException) -> str:
    if isinstance(error, sqlite3.Error):
        return str(refusal(session.results_path, error))
    return str(error) if isinstance(error, TriageError | ValueError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
