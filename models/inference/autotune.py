"""Timings of networks on this machine: measured once, remembered in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
import torch
from torch import Tensor, nn

from photon_triage.models.common.output_files import atomic_path

Call = Callable[[Tensor], Any]
Result = TypeVar("Result")

WORTHWHILE = 1.1
"""How many times faster a form must be measured to be taken: timings on a busy machine are not exact."""


MOST_FRAMES = 64
"""Frames at a time that are tried at most."""

LONG_BATCH = 0.3
"""Seconds for a batch from which on larger ones are not tried: results are to come soon, and trying takes time too."""


def cache_path() -> Path:
    """The file that remembers what was measured."""
    return platformdirs.user_cache_path("photon-triage") / "speed.json"


@dataclass
class Race:
    """Two forms of a network on the same batches; the first batch is not counted, for it sets things up."""

    rounds: int = -1
    seconds: float = 0.0
    other_seconds: float = 0.0

    def ran(self, taken: float, other_taken: float) -> None:
        """Count a batch."""
        self.rounds += 1
        if self.rounds:
            self.seconds += taken
            self.other_seconds += other_taken

    @property
    def is_won(self) -> bool:
        """Whether the other form was faster by enough."""
        return self.other_seconds * WORTHWHILE <= self.seconds

    def __str__(self) -> str:
        return f"{self.other_seconds:.2f} s against {self.seconds:.2f} s"


def timed(call: Callable[[Tensor], Result], batch: Tensor, device: torch.device) -> tuple[Result, float]:
    """What `call` gives for a batch, and the seconds it took on the device."""
    _wait_for(device)
    start = time.perf_counter()
    result = call(batch)
    _wait_for(device)
    return result, time.perf_counter() - start


def seconds(call: Call, batch: Tensor, repeats: int = 2) -> float:
    """The least of a few timings of `call` on `batch`, after one that does not count, in seconds."""
    best = float("inf")
    for turn in range(repeats + 1):
        _, taken = timed(call, batch, batch.device)
        if turn:
            best = min(best, taken)
    return best


def measured_once(
    what: str, model: nn.Module, batch: Tensor, measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What `measure` gives, or what it gave before on this machine for such a network and such a batch.

    `what` is measured. A cache that cannot be read or written is as good as none.
    """
    key = " | ".join((what, machine(batch.device), architecture_key(model), "x".join(map(str, batch.shape))))
    found = _read().get(key)
    if isinstance(found, dict) and all(isinstance(value, float) for value in found.values()):
        return found
    result = measure()
    _write({**_read(), key: result})
    return result


def batch_sizes(call: Call, frame: Tensor) -> dict[str, float]:
    """Seconds a frame for batches of 1, 2, 4, ... frames like `frame` (1, channels, height, width).

    It ends where a batch takes long, where the memory ends, and at MOST_FRAMES.
    """
    found: dict[str, float] = {}
    size = 1
    while size <= MOST_FRAMES:
        try:
            taken = seconds(call, frame.expand(size, *frame.shape[1:]), repeats=2)
        except torch.OutOfMemoryError:
            break
        found[str(size)] = taken / size
        if taken > LONG_BATCH:
            break
        size *= 2
    return found


def smallest_of_the_best(found: dict[str, float]) -> int:
    """The smallest batch size that is nearly as fast as the fastest; 1 where nothing was measured."""
    limit = min(found.values(), default=0.0) * WORTHWHILE
    return min((int(size) for size, value in found.items() if value <= limit), default=1)


def machine(device: torch.device) -> str:
    """The device's name, what its instructions are, torch's version, and the number of threads on a CPU."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    name, flags = processor()
    mark = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return f"{device.type} {name} ({mark}), torch {torch.__version__}, {torch.get_num_threads()} threads"


def architecture_key(model: nn.Module) -> str:
    """A short name of the network's kind and of the shapes of its tensors, whatever their values."""
    shapes: Sequence[tuple[str, tuple[int, ...]]] = [(k, tuple(v.shape)) for k, v in model.state_dict().items()]
    return f"{type(model).__name__} {hashlib.sha256(repr(shapes).encode()).hexdigest()[:12]}"


def processor() -> tuple[str, str]:
    """The processor's name and its flags, as far as the system tells."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        values = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
        facts = {key.strip(): value.strip() for key, value in values.items()}
        return facts.get("model name", platform.machine()), facts.get("flags", facts.get("Features", ""))
    return platform.processor() or platform.machine(), ""


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _read() -> dict[str, Any]:
    try:
        loaded = json.loads(cache_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _write(everything: dict[str, Any]) -> None:
    path = cache_path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, durable=False) as partial:
            partial.write_text(json.dumps(everything, indent=2), encoding="utf-8")
