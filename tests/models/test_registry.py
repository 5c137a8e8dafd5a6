from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from photon_triage import models
from photon_triage.models import runtime
from photon_triage.models.darknet import Darknet
from photon_triage.models.errors import ModelError

from .builders import SMALL, with_random_weights


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, photon_triage.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_darknet_is_created_by_name() -> None:
    assert "darknet" in models.available()
    assert isinstance(models.create("darknet", cfg=SMALL, classes=3), Darknet)
    assert isinstance(models.create("darknet", cfg="hitnet"), Darknet)


def test_unknown_architecture_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"Cannot create a resnet model: no such architecture\. Available:.*darknet"):
        models.create("resnet")


def test_wrong_option_is_told() -> None:
    with pytest.raises(ModelError, match="unexpected keyword argument 'depth'"):
        models.create("darknet", cfg=SMALL, depth=3)


def test_name_in_use_is_refused() -> None:
    with pytest.raises(ModelError, match="Cannot register darknet"):
        models.register("darknet")(nn.Identity)


def test_package_has_nothing_else() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing


def test_device_follows_the_request() -> None:
    assert runtime.best_device("cpu") == torch.device("cpu")
    assert runtime.best_device() == runtime.best_device("auto")


@pytest.mark.parametrize("request_", ["cuda:99", "warp", "cpu:3", "meta"])
def test_absent_devices_are_refused(request_: str) -> None:
    with pytest.raises(ModelError, match="Available: auto,"):
        runtime.best_device(request_)


def test_prepared_network_gives_the_same_heads_and_stays_as_it_is() -> None:
    model = with_random_weights(Darknet.from_cfg(SMALL)).train()
    run = runtime.prepare_for_inference(model, torch.device("cpu"))
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    found = run(image)
    assert model.training and not found[0].requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval()(image.float()), rtol=1e-4, atol=1e-5)


def test_single_output_becomes_a_list() -> None:
    run = runtime.prepare_for_inference(nn.Flatten(), torch.device("cpu"))
    assert [tuple(output.shape) for output in run(torch.zeros(2, 3, 4, 4))] == [(2, 48)]
