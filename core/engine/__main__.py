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
from typing import Any

from photon_triage.core.common.containment import foreign_entry, report
from photon_triage.core.common.errors import TriageError
from photon_triage.core.engine.process import lock_session, refuse_second_host
from photon_triage.core.engine.recorder import Heartbeat, Recorder
from photon_triage.core.engine.restart import EngineJob
from photon_triage.core.session.decisions.journal import user_name
from photon_triage.core.session.session import Session
from photon_triage.core.session.state import EngineState
from photon_triage.core.session.store.database import refusal
from photon_triage.core.session.store.writer import ResultsWriter

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
    started = time.time()
    paths = [Path(path) for path in job["paths"]]
    described = EngineJob(
        tuple(paths), job["once"], job["patience"], job.get("device"), user_name(), bool(job.get("alarm_command"))
    )

    def starting() -> dict[str, Any]:
        state = EngineState(os.getpid(), os.uname().nodename, started, "starting", heartbeat=time.time())
        return state.to_json() | {"job": described.as_json()}

    # torch takes seconds to import, a minute on a busy machine: the screen must know that an engine is on its way.
    heartbeat = Heartbeat(results, starting)
    heartbeat.beat()
    heartbeat.start()
    try:
        from photon_triage.core.engine.pipeline import Engine

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
        heartbeat.close()
        engine.run()
    except BaseException as error:
        log.exception("the engine ends")
        heartbeat.close()
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
    code = main(sys.argv[1])
    logging.shutdown()
    # A step that is in the middle of a slow frame cannot be ended: what it computes is of no use any more.
    os._exit(code)
