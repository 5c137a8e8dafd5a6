"""Computing the bands of a canvas on the cores of a CPU, a thread a band.

A network of a hundred thin layers is thousands of short operations. To split each of them among the cores means to wait
for all cores thousands of times, which takes longer than the work as soon as another process runs. Here each thread
goes through all layers of its band, and they wait for each other once a layer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier, BrokenBarrierError, Lock

import torch

from photon_triage.models.msd.canvas import Band, Canvas

Meet = Callable[[], object]
"""Returns when all bands have come as far."""

Work = Callable[[int, Band, Meet], None]
"""What to do for a band, with its number: without gradients, on one core."""

_submitting = Lock()


def for_each_band(canvas: Canvas, work: Work) -> None:
    """Do the work for every band of a canvas, at the same time; on a GPU, or with one core, for the whole at once."""
    bands = canvas.bands(cores(canvas.maps.device))
    if len(bands) == 1 and cores(canvas.maps.device) == 1:
        work(0, bands[0], lambda: None)
        return
    barrier = Barrier(len(bands))
    is_inference = torch.is_inference_mode_enabled()

    def guarded(number: int, band: Band) -> None:
        try:
            with torch.inference_mode(is_inference), torch.no_grad():
                work(number, band, barrier.wait)
        except BaseException:
            barrier.abort()
            raise

    # All of one canvas before any of another: each thread of the pool is then free at some time for each band.
    with _submitting:
        pool = _pool(torch.get_num_threads(), os.getpid())
        futures = [pool.submit(guarded, number, band) for number, band in enumerate(bands)]
    wait(futures)
    _raise_first(futures)


def cores(device: torch.device) -> int:
    """How many bands can be computed at the same time on a device."""
    return torch.get_num_threads() if device.type == "cpu" else 1


def _raise_first(futures: list[Future[None]]) -> None:
    """Raise what went wrong in a band, rather than that others waited for it in vain."""
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        raise error


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads in which torch uses one core each; a forked process needs its own.

    A thread that first asks torch for its number of cores gets what any thread has set last. So each of these asks
    before it sets its own, and the caller's is set again in the end, for threads that start later.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="msd")
    started = Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        started.wait()

    for _ in range(threads):
        pool.submit(start)
    started.wait()
    torch.set_num_threads(threads)
    return pool
