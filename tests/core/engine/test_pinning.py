from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photon_triage.core.engine.load import pin_for
from photon_triage.core.sources import FrameReader

from ...builders.detector_files import frames_of, write_cxi


class Runtime:
    """CUDA's runtime, as far as it registers memory."""

    def __init__(self, error: int = 0) -> None:
        self.error = error
        self.registered: set[int] = set()

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        if not self.error:
            self.registered.add(address)
        return self.error

    def cudaHostUnregister(self, address: int) -> int:
        self.registered.remove(address)
        return 0


@pytest.mark.parametrize("error", [0, 801])
def test_frames_for_a_gpu_land_in_memory_that_is_registered_while_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    runtime = Runtime(error)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)

    with FrameReader(pin=pin_for(torch.device("cuda"))) as reader:
        assert reader.read(write_cxi(tmp_path / "a.cxi", frames_of(2)), "/entry_1/data_1/data", 0, 2)[1, 9, 9] == 2
        assert len(runtime.registered) == (0 if error else 1)
    del reader

    assert not runtime.registered


def test_frames_for_the_cpu_are_not_pinned() -> None:
    assert pin_for(torch.device("cpu")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_frames_are_pinned_as_torch_sees_it(tmp_path: Path) -> None:
    with FrameReader(pin=pin_for(torch.device("cuda"))) as reader:
        frames = reader.read(write_cxi(tmp_path / "a.cxi", frames_of(2)), "/entry_1/data_1/data", 0, 2)

        assert torch.from_numpy(frames).is_pinned()
