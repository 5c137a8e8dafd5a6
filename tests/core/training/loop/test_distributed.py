"""Two processes train to the same end as one; only the first writes; a killed one ends all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.loop.distributed import joined

from . import ranked

SCRIPT = Path(__file__).with_name("ranked.py")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=600, env=ENVIRONMENT
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(SCRIPT, "all", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ranked.TRAININGS)
def test_two_processes_train_to_the_same_weights_as_one(name: str, both: Path) -> None:
    network, steps = ranked.TRAININGS[name]()
    losses = torch.tensor([step.loss for step in steps], dtype=torch.float64)
    found = load_file(both / f"{name}.safetensors")
    torch.testing.assert_close(found.pop("losses"), losses, rtol=1e-5, atol=1e-5)
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=1e-5, msg=key)


def test_a_killed_process_ends_the_other_with_a_message_and_the_state_stays(tmp_path: Path) -> None:
    done = torchrun(SCRIPT, "killed", tmp_path)
    assert done.returncode != 0
    assert "the same command then goes on from the last state" in done.stderr
    assert (tmp_path / "state.safetensors").exists()


def test_one_device_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="cuda:1 alone"), joined("cuda:1"):
        pass
