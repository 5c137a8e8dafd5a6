from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from photon_triage.models import weights
from photon_triage.models.darknet import Darknet
from photon_triage.models.errors import ModelError

from .builders import SMALL, with_random_weights


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Darknet, Path]:
    model = with_random_weights(Darknet.from_cfg(SMALL))
    model.seen = 6400
    model.save_weights(tmp_path / "small.weights")
    return model, tmp_path / "small.weights"


def test_round_trip_keeps_every_number(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    copy = Darknet.from_cfg(SMALL)
    report = copy.load_weights(path)
    for name, tensor in copy.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(tensor, model.state_dict()[name], rtol=0, atol=0)
    assert (report.loaded, report.missing, report.seen, report.version) == ((0, 2, 3), (), 6400, (0, 2, 0))
    assert copy.seen == 6400


def test_layout_of_the_file(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    content = path.read_bytes()
    assert struct.unpack_from("<iiiQ", content) == (0, 2, 0, 6400)
    norm = model.convolutions()[0][1].norm
    assert norm is not None
    assert struct.unpack_from("<2f", content, 20) == pytest.approx(norm.bias[:2].tolist())
    assert struct.unpack_from("<f", content, 20 + 4 * 8) == pytest.approx(norm.weight[:1].tolist())
    assert len(content) == weights.file_size(model.convolutions())


def test_old_version_has_a_short_header(saved: tuple[Darknet, Path], tmp_path: Path) -> None:
    _, path = saved
    old = tmp_path / "old.weights"
    old.write_bytes(struct.pack("<iiii", 0, 1, 0, 77) + path.read_bytes()[20:])
    report = Darknet.from_cfg(SMALL).load_weights(old)
    assert (report.seen, report.missing) == (77, ())


def test_file_of_the_first_layers_loads_them_and_says_what_is_missing(tmp_path: Path) -> None:
    model = with_random_weights(Darknet.from_cfg(SMALL))
    model.save_weights(tmp_path / "small.conv.2", cutoff=2)
    copy = Darknet.from_cfg(SMALL)
    head_before = copy.convolutions()[2][1].convolution.weight.clone()
    report = copy.load_weights(tmp_path / "small.conv.2")
    assert (report.loaded, report.missing) == ((0,), (2, 3))
    assert str(report).endswith("1 convolutions loaded, 0 images seen; not in the file: layers 2, 3")
    assert torch.equal(copy.convolutions()[2][1].convolution.weight, head_before)


def test_cutoff_takes_the_shared_layers_of_another_network(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    other = Darknet.from_cfg(SMALL, classes=7)
    report = other.load_weights(path, cutoff=3)
    assert (report.loaded, report.missing) == ((0, 2), (3,))
    assert report.unread_bytes == 4 * (14 + 14 * 4)
    assert torch.equal(other.convolutions()[1][1].convolution.weight, model.convolutions()[1][1].convolution.weight)


@pytest.mark.parametrize(
    ("removed", "message"),
    [(40, "ends within layer 3, 40 bytes short"), (2, "the last number is cut"), (10**9, "no header in 0 bytes")],
)
def test_truncated_file_changes_nothing(saved: tuple[Darknet, Path], removed: int, message: str) -> None:
    _, path = saved
    path.write_bytes(path.read_bytes()[:-removed])
    copy = Darknet.from_cfg(SMALL)
    before = {name: tensor.clone() for name, tensor in copy.state_dict().items()}
    with pytest.raises(ModelError, match=message):
        copy.load_weights(path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in copy.state_dict().items())


def test_file_of_a_larger_network_is_refused(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    with pytest.raises(ModelError, match=r"140 bytes follow the network's last layer"):
        Darknet.from_cfg(SMALL.replace("num=2", "num=1").replace("1,1, 3,2", "1,1").replace("=14", "=7")).load_weights(
            path
        )


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="No such file"):
        Darknet.from_cfg(SMALL).load_weights(tmp_path / "none.weights")


def test_unwritable_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Cannot write the weights"):
        Darknet.from_cfg(SMALL).save_weights(tmp_path / "none" / "small.weights")
    assert list(tmp_path.iterdir()) == []


def test_fused_network_has_no_weights_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="fused network"):
        Darknet.from_cfg(SMALL).fused().save_weights(tmp_path / "fused.weights")
