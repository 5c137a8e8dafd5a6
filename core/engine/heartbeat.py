"""The heartbeat: a thread that writes the engine's state, whatever the others are busy with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from photon_triage.core.engine.recorder import Recorder

log = logging.getLogger("photon_triage.engine")

HEARTBEAT_S = 0.5


class Heartbeat(threading.Thread):
    """Stores what `describe` returns, twice a second, until closed."""

    def __init__(self, results: Recorder, describe: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.failure: BaseException | None = None
        self.describe = describe
        self._results = results
        self._closing = threading.Event()

    def run(self) -> None:
        """Beat; the thread's body."""
        try:
            while not self._closing.wait(HEARTBEAT_S):
                self.beat()
        except BaseException as error:
            self.failure = error
            raise

    def beat(self) -> None:
        """Store the state now."""
        self._results.set_state(dict(self.describe()))

    def close(self) -> None:
        """End; nothing is stored after this returns, unless the disk does not answer."""
        self._closing.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(2.0)
