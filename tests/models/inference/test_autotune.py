from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from photon_triage.models.inference import autotune as speed

FRAMES = torch.zeros(1, 1, 4, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cache" / "speed.json"
    monkeypatch.setattr(speed, "cache_path", lambda: path)
    return path


def measured(model: nn.Module, frames: torch.Tensor = FRAMES, what: str = "precision") -> int:
    """How often it was measured when it was asked for twice."""
    times: list[int] = []

    def measure() -> dict[str, float]:
        times.append(1)
        return {"float32": 0.5}

    for _ in range(2):
        assert speed.measured_once(what, model, frames, measure) == {"float32": 0.5}
    return len(times)


def test_measured_once_and_remembered() -> None:
    assert measured(nn.Linear(2, 3)) == 1
    assert measured(nn.Linear(2, 3)) == 0


def test_measured_again_for_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    measured(nn.Linear(2, 3))
    assert measured(nn.Linear(2, 4)) == 1
    assert measured(nn.Linear(2, 3), FRAMES[..., :2]) == 1
    assert measured(nn.Linear(2, 3), what="batch size") == 1
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    assert measured(nn.Linear(2, 3)) == 1
    monkeypatch.setattr(torch, "__version__", "3.0")
    assert measured(nn.Linear(2, 3)) == 1


@pytest.mark.parametrize("content", ["", "{broken", "[]", '{"a": 1}'])
def test_damaged_cache_is_as_good_as_none(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    assert measured(nn.Linear(2, 3)) == 1


def test_damaged_entry_is_measured_again(cache: Path) -> None:
    measured(nn.Linear(2, 3))
    cache.write_text(cache.read_text().replace("0.5", '"fast"'))
    assert measured(nn.Linear(2, 3)) == 1


def test_cache_that_cannot_be_written_is_as_good_as_none(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert measured(nn.Linear(2, 3)) == 2


def test_batch_sizes_go_up_to_the_largest() -> None:
    found = speed.batch_sizes(nn.Flatten(), FRAMES)
    assert list(found) == ["1", "2", "4", "8", "16", "32", "64"] and all(value > 0 for value in found.values())


def test_batch_sizes_end_with_the_memory() -> None:
    def call(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return batch

    assert list(speed.batch_sizes(call, FRAMES)) == ["1", "2"]


def test_batch_sizes_end_where_a_batch_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "seconds", lambda _, batch, repeats: 0.1 * len(batch))
    assert list(speed.batch_sizes(nn.Flatten(), FRAMES)) == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("found", "size"),
    [({"1": 1.0, "2": 0.5, "4": 0.48, "8": 0.47}, 2), ({"1": 0.4, "2": 0.5}, 1), ({}, 1)],
)
def test_smallest_batch_that_is_nearly_the_fastest_is_taken(found: dict[str, float], size: int) -> None:
    assert speed.smallest_of_the_best(found) == size
