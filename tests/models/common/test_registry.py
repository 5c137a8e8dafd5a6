from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from photon_triage import models
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet

from ..builders import SMALL


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
