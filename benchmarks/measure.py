"""Times side by side, and the memory of one computation: what the benchmarks share."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

Run = Callable[[], Any]
"""What is timed."""

Build = Callable[[Path], Run]
"""Makes what is timed; the path is a folder for files that cases share."""

MEMORY = (
    "peak_bytes is the most that the first computation takes beyond what its process, which does nothing else, held "
    "before; total_bytes the most that building the case and the first computation take together, weights included. "
    "On the CPU it is anonymous resident memory, sampled every millisecond, on the GPU what torch's allocator gave out."
)


class SkippedCase(Exception):
    """A case that cannot run here; the message says why."""


@dataclass(frozen=True)
class Case:
    """One way to compute something, and whether it does so on the GPU.

    share: the part of the work that a run does, where all of it would take minutes; the times are those of all of it.
    """

    key: str
    title: str
    build: Build
    on_gpu: bool = False
    share: float = 1.0


@dataclass(frozen=True)
class Comparison:
    """Several ways to compute the same; the first is this package's, and the others are measured against it."""

    key: str
    title: str
    gmac: float | None
    cases: tuple[Case, ...]
    most_seconds: float = 20.0


@dataclass(frozen=True)
class Memory:
    """What a case takes; see MEMORY. None where the system does not tell."""

    peak_bytes: int | None = None
    total_bytes: int | None = None


@dataclass(frozen=True)
class Measured:
    """What was found: seconds, memory, and the largest difference from the first case's result.

    `ratio` is how many times as long as the first case this one takes, from the best times of both. `cpu_s` is the best
    processor time of a run, of all threads together: with one thread, what others do on the machine hardly changes it;
    with several, it holds their waiting too. `difference` is a share of the largest value; None for results of another
    form.
    """

    key: str
    title: str
    best_s: float | None = None
    median_s: float | None = None
    cpu_s: float | None = None
    runs: int = 0
    ratio: float | None = None
    peak_bytes: int | None = None
    total_bytes: int | None = None
    difference: float | None = None
    skipped: str | None = None


def synchronise() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compare(comparison: Comparison, rounds: int, workspace: Path, memory: Callable[[str], Memory]) -> list[Measured]:
    """Time all cases, one run of each a round, so that what else the machine does falls on all of them.

    Every case runs once before, which is not counted. One that has used the comparison's seconds rests, once it was
    timed. `memory` measures that of a case.
    """
    runs: dict[str, Run] = {}
    skipped: dict[str, str] = {}
    outputs: dict[str, Any] = {}
    for case in comparison.cases:
        try:
            runs[case.key] = case.build(workspace)
            outputs[case.key] = runs[case.key]()
        except SkippedCase as reason:
            skipped[case.key] = str(reason)
    shares = {case.key: case.share for case in comparison.cases}
    times: dict[str, list[float]] = {key: [] for key in runs}
    processor: dict[str, list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            if times[key] and sum(times[key]) * shares[key] > comparison.most_seconds:
                continue
            synchronise()
            began, processor_began = time.perf_counter(), time.process_time()
            run()
            synchronise()
            times[key].append((time.perf_counter() - began) / shares[key])
            processor[key].append((time.process_time() - processor_began) / shares[key])
    first = comparison.cases[0].key
    results = []
    for case in comparison.cases:
        if case.key in skipped:
            results.append(Measured(case.key, case.title, skipped=skipped[case.key]))
            continue
        best = min(times[case.key])
        results.append(
            Measured(
                case.key,
                case.title,
                best_s=best,
                median_s=statistics.median(times[case.key]),
                cpu_s=min(processor[case.key]),
                runs=len(times[case.key]),
                ratio=best / min(times[first]) if first in times else None,
                **asdict(memory(case.key)),
                difference=largest_difference(outputs[case.key], outputs.get(first)),
            )
        )
    return results


def largest_difference(found: Any, expected: Any) -> float | None:
    """Of two tensors or lists of tensors, as a share of the largest value; None where they differ in form.

    Values that are not numbers, outside of a mask, do not count.
    """
    pairs = [value if isinstance(value, list | tuple) else [value] for value in (found, expected)]
    tensors = [[torch.as_tensor(part).float().cpu() for part in parts if part is not None] for parts in pairs]
    if [part.shape for part in tensors[0]] != [part.shape for part in tensors[1]]:
        return None
    differences = []
    for a, b in zip(*tensors, strict=True):
        both = ~(a.isnan() | b.isnan())
        differences.append(float((a - b)[both].abs().max() / b[both].abs().max().clamp_min(1e-30)))
    return max(differences, default=None)


def memory_of(case: Case, folder: Path) -> Memory:
    """Build the case and run it once, watching the memory of this process, which should do nothing else."""
    if case.on_gpu:
        return Memory(gpu_memory(case.build(folder)))
    if sys.platform != "linux":
        return Memory()
    with _Sampler() as sampler:
        before = sampler.now()
        run = case.build(folder)
        gc.collect()
        # What was freed while the case was built must not hide what the computation takes.
        ctypes.CDLL(None).malloc_trim(0)
        held, while_building = sampler.now(), sampler.restart()
        run()
    return Memory(sampler.peak - held, max(sampler.peak, while_building) - before)


def gpu_memory(run: Run) -> int:
    """Bytes that `run` takes on the GPU at its peak beyond what is held before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    torch.cuda.synchronize()
    return int(torch.cuda.max_memory_allocated()) - int(before)


class _Sampler:
    """A thread that remembers the most anonymous resident memory it saw, on Linux."""

    def __init__(self) -> None:
        self.peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.now()
        self._done.set()
        self._thread.join()

    def now(self) -> int:
        """Bytes resident now."""
        text = Path("/proc/self/status").read_text()
        value = next((int(line.split()[1]) for line in text.splitlines() if line.startswith("RssAnon:")), 0)
        self.peak = max(self.peak, 1024 * value)
        return 1024 * value

    def restart(self) -> int:
        """The peak so far; from now on another is looked for."""
        peak, self.peak = self.peak, 0
        return peak

    def _watch(self) -> None:
        while not self._done.wait(0.001):
            self.now()


def in_child(target: Callable[..., Memory], *arguments: object) -> Memory:
    """What `target` returns in a fresh process; nothing where that fails, which says so itself on stderr.

    The process is a copy of one that imported what this program imports and did nothing else.
    """
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, target, arguments))  # type: ignore[attr-defined]
    child.start()
    theirs.close()
    try:
        answer: Memory = ours.recv()
    except EOFError:
        answer = Memory()
    child.join()
    return answer


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    found: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    for package in ("numpy", "opencv-python-headless", "onnxruntime", "triton"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = properties.name
        found["gpu_bytes"] = properties.total_memory
        found["cuda"] = torch.version.cuda
    return found


def _answer(connection: Connection, target: Callable[..., Memory], arguments: Sequence[object]) -> None:
    connection.send(target(*arguments))


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
