"""Decisions on their way to the disk: written one after the other in a thread, in the order of the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from photon_triage.core.common.errors import SessionError, TriageError


@dataclass(frozen=True, slots=True)
class _Job:
    write: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[TriageError], None]


class SaveQueue:
    """Runs writes in order; the event loop hears of each when it is on disk, or of why it is not."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()

    def put(self, write: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[TriageError], None]) -> None:
        """Write soon; then `done` gets what `write` returned, or `failed` its error."""
        self._jobs.put_nowait(_Job(write, done, failed))

    async def run(self) -> None:
        """Write whatever is put, for ever."""
        while True:
            job = await self._jobs.get()
            try:
                result = await asyncio.to_thread(job.write)
            except TriageError as error:
                job.failed(error)
            except Exception as error:  # those that follow are written all the same
                job.failed(
                    SessionError(
                        f"Could not save a decision: {type(error).__name__}: {error}.",
                        "Decide again.",
                        title="Not saved",
                    )
                )
            else:
                job.done(result)
            finally:
                self._jobs.task_done()

    async def drained(self) -> None:
        """Return once everything put so far has been written or has failed."""
        await self._jobs.join()
