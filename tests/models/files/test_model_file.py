from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photon_triage.models import available, create
from photon_triage.models.common import checkpoint
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.model_file import open_cfg, open_foreign, open_network
from photon_triage.models.files.summary import summarise

from ..builders import SMALL, TINY, with_random_weights


def test_every_family_has_a_small_network_here() -> None:
    assert set(available()) == set(TINY)


@pytest.mark.parametrize("family", TINY)
def test_every_network_survives_a_checkpoint(tmp_path: Path, family: str) -> None:
    model = create(family, **TINY[family])
    checkpoint.save(tmp_path / "model.safetensors", model, {"note": "tiny"})
    opened = open_network(str(tmp_path / "model.safetensors"))
    assert type(opened.model) is type(model) and opened.metadata["note"] == "tiny"
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(opened.model.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("family", TINY)
def test_parameters_of_a_checkpoint_are_counted_without_reading_them(tmp_path: Path, family: str) -> None:
    model = create(family, **TINY[family])
    path = checkpoint.save(tmp_path / "model.safetensors", model, {})
    assert checkpoint.parameter_count(path) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("family", TINY)
def test_every_network_can_be_summarised(family: str) -> None:
    model = create(family, **TINY[family])
    summary = summarise(model)
    assert summary.family == family and summary.layers
    assert summary.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert summary.gmac is not None and summary.gmac > 0


def test_work_of_msd_is_its_weights_at_every_pixel() -> None:
    model = create("msd", depth=10)
    weights = sum(parameter.numel() for name, parameter in model.named_parameters() if "bias" not in name)
    assert summarise(model, (1000, 1000)).gmac == pytest.approx(weights / 1000)


def test_summary_of_darknet_is_darknets_table() -> None:
    network = Darknet.from_cfg("yolov2-seeds")
    summary = summarise(network)
    assert summary.input == (3, 416, 416) and summary.parameters == 67_040_190
    assert summary.gmac == pytest.approx(17.43, abs=0.005)
    assert summary.layers == tuple(map(str, network.layer_table()))


def test_summary_counts_the_work_for_another_size() -> None:
    network = Darknet.from_cfg(SMALL)
    assert summarise(network, (64, 64)).gmac == pytest.approx(4 * network.gmac())


def test_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError):
        summarise(create("lenet"), (20, 20))
    with pytest.raises(ModelError, match="Cannot count the work for 8x8x8"):
        summarise(create("msd", depth=3), (8, 8, 8))


@pytest.mark.parametrize("what", ["file", "shipped"])
def test_cfg_is_a_network(tmp_path: Path, what: str) -> None:
    (tmp_path / "small.cfg").write_text(SMALL)
    opened = open_network(str(tmp_path / "small.cfg") if what == "file" else "hitnet", {"classes": 3})
    assert isinstance(opened.model, Darknet) and opened.model.heads[0].classes == 3
    assert opened.notes == ("random weights",)


def test_cfg_takes_weights(tmp_path: Path) -> None:
    (tmp_path / "small.cfg").write_text(SMALL)
    network = with_random_weights(Darknet.from_cfg(SMALL))
    network.save_weights(tmp_path / "small.weights")
    opened = open_network(str(tmp_path / "small.cfg"), weights=tmp_path / "small.weights")
    assert "3 convolutions loaded" in opened.notes[0]
    name = "layers.0.convolution.weight"
    torch.testing.assert_close(opened.model.state_dict()[name], network.state_dict()[name])


def test_architecture_takes_options() -> None:
    assert open_network("msd", {"depth": 3}).model.depth == 3


def test_pt_file_becomes_a_network(tmp_path: Path) -> None:
    model = create("lenet", **TINY["lenet"])
    torch.save(model.state_dict(), tmp_path / "lenet.pt")
    opened = open_foreign(tmp_path / "lenet.pt", "lenet", TINY["lenet"])
    torch.testing.assert_close(dict(opened.model.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
    assert opened.metadata == {"source": str(tmp_path / "lenet.pt")}


def test_images_seen_of_darknet_need_not_be_in_the_file(tmp_path: Path) -> None:
    state = Darknet.from_cfg(SMALL).state_dict()
    del state["images_seen"]
    torch.save(state, tmp_path / "net.pt")
    opened = open_foreign(tmp_path / "net.pt", "darknet", {"cfg": SMALL})
    assert "left as built: images_seen" in opened.notes[1]


@pytest.mark.parametrize(
    ("what", "options", "told"),
    [
        ("nothing", {}, r"Cannot find a network named 'nothing'. .*hitnet.*darknet"),
        ("none.safetensors", {}, "No such file"),
        ("none.safetensors", {"depth": 3}, "Cannot give options"),
        ("none.cfg", {}, "Cannot read the cfg file"),
        ("net.pt", {}, "photon-triage models import .*net.pt --family"),
        ("msd", {"depht": 3}, "unexpected keyword argument 'depht'"),
        ("hitnet", {"depth": 3}, "Options of a cfg: in_channels, classes"),
    ],
)
def test_what_names_no_network_is_told(what: str, options: dict[str, int], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        open_network(what, options)


def test_weights_belong_to_a_cfg(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="only a network of a cfg"):
        open_network("msd", weights=tmp_path / "x.weights")
    with pytest.raises(ModelError, match="Cannot build"):
        open_cfg("hitnet", {"depth": 3}, None)
