"""The device is the one that is asked for, or the fastest there is."""

from __future__ import annotations

import pytest
import torch

from photon_triage.models.common.errors import ModelError
from photon_triage.models.inference.precision import best_device


def test_device_follows_the_request() -> None:
    assert best_device("cpu") == torch.device("cpu")
    assert best_device() == best_device("auto")


@pytest.mark.parametrize("request_", ["cuda:99", "warp", "cpu:3", "meta"])
def test_absent_devices_are_refused(request_: str) -> None:
    with pytest.raises(ModelError, match="Available: auto,"):
        best_device(request_)
