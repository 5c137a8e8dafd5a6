from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch

from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet import weights
from photon_triage.models.darknet.darknet import Darknet

from ..builders import NET, SMALL, with_random_weights


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


@pytest.mark.parametrize(
    ("header", "size", "told"),
    [
        (struct.pack("<iiii", 0, 2, 0, 77), 16, True),
        (struct.pack("<iiiQ", 0, 1, 0, 77), 20, True),
        (struct.pack("<iiii", 0, 1001, 0, 77), 16, False),
        (struct.pack("<iiiQ", 2000, 2, 5, 77), 20, True),
    ],
    ids=["32 bits", "early, wide", "transposed", "transposed, wide"],
)
def test_size_of_the_file_decides_the_header(
    saved: tuple[Darknet, Path], tmp_path: Path, header: bytes, size: int, told: bool
) -> None:
    model, path = saved
    other = tmp_path / "other.weights"
    other.write_bytes(header + path.read_bytes()[20:])
    copy = Darknet.from_cfg(SMALL)
    report = copy.load_weights(other)
    assert (report.seen, report.loaded) == (77, (0, 2, 3))
    assert (f"its header has {size} bytes, which is not that of version" in str(report)) == told
    assert torch.equal(copy.convolutions()[0][1].convolution.weight, model.convolutions()[0][1].convolution.weight)


def test_cutoff_leaves_the_header_to_the_version(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    assert Darknet.from_cfg(SMALL).load_weights(path, cutoff=1).seen == 6400


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
    [
        (40, "ends within layer 3, 40 bytes short"),
        (2, "ends within layer 3, 2 bytes short"),
        (1300, "ends within layer 0"),
        (10**9, "failed before layer 0, 0 bytes hold no header"),
    ],
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
    with pytest.raises(ModelError, match=r"140 bytes follow layer 3, the network's last conv"):
        Darknet.from_cfg(SMALL.replace("num=2", "num=1").replace("1,1, 3,2", "1,1").replace("=14", "=7")).load_weights(
            path
        )


def damaged(path: Path, layer_bytes: int, values: list[float]) -> Path:
    """A copy of the file with numbers replaced `layer_bytes` behind its header."""
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{len(values)}f", content, 20 + layer_bytes, *values)
    copy = path.with_name("damaged.weights")
    copy.write_bytes(content)
    return copy


FIRST_LAYER = 4 * (4 * 8 + 8 * 27)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (4 * 8 * 3 + 12, -0.5, "layer 0 has negative variances"),
        (4 * 8 * 4, float("nan"), "layer 0 has numbers that are not finite"),
        (FIRST_LAYER + 4 * 4 * 3, -1e-3, "layer 2 has negative variances"),
        (FIRST_LAYER + 4 * (4 * 4 + 4 * 8), float("inf"), "layer 3 has numbers that are not finite"),
    ],
)
def test_implausible_numbers_are_refused_with_their_layer(
    saved: tuple[Darknet, Path], place: int, value: float, message: str
) -> None:
    _, path = saved
    copy = Darknet.from_cfg(SMALL)
    before = copy.convolutions()[0][1].convolution.weight.clone()
    with pytest.raises(ModelError, match=message):
        copy.load_weights(damaged(path, place, [value]))
    assert torch.equal(copy.convolutions()[0][1].convolution.weight, before)


def test_file_of_another_network_fails_at_the_layer_where_it_differs(tmp_path: Path) -> None:
    """Five filters instead of four from layer 2 on; what stands where its variances should be are weights."""
    other = SMALL.replace("filters=4", "filters=5")
    with_random_weights(Darknet.from_cfg(other)).save_weights(tmp_path / "other.weights")
    with pytest.raises(ModelError, match="layer 2 has negative variances"):
        Darknet.from_cfg(SMALL).load_weights(tmp_path / "other.weights")


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04" + bytes(100),
        struct.pack("<Q", 4096) + b'{"layers.0"' + bytes(100),
        struct.pack("<iiiQ", 0, 2, 0, 2**63) + bytes(100),
        struct.pack("<iiii", 0, 1, 0, -5) + bytes(100),
        b"[net]\nwidth=32\nheight=32\nchannels=3\n",
    ],
    ids=["zip", "safetensors", "impossible count", "negative count", "cfg"],
)
def test_files_of_another_kind_fail_before_layer_0(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "foreign.weights").write_bytes(content)
    with pytest.raises(ModelError, match="failed before layer 0, its header says version"):
        Darknet.from_cfg(SMALL).load_weights(tmp_path / "foreign.weights")


def test_header_alone_holds_no_layer(tmp_path: Path) -> None:
    (tmp_path / "empty.weights").write_bytes(struct.pack("<iiiQ", 0, 2, 0, 0))
    with pytest.raises(ModelError, match="ends within layer 0"):
        Darknet.from_cfg(SMALL).load_weights(tmp_path / "empty.weights")


def run(model: Darknet, image: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        output: torch.Tensor = model.eval()(image)[0]
    return output


def test_three_channel_file_in_a_one_channel_network_sees_a_grey_image_alike(saved: tuple[Darknet, Path]) -> None:
    model, path = saved
    grey = Darknet.from_cfg(SMALL, in_channels=1)
    report = grey.load_weights(path)
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(run(grey, image), run(model, image.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)
    assert (report.file_channels, report.in_channels, report.missing) == (3, 1, ())
    assert "the first convolution's 3 input channels were added into one" in str(report)


def test_one_channel_file_in_a_three_channel_network_sees_a_grey_image_alike(tmp_path: Path) -> None:
    grey = with_random_weights(Darknet.from_cfg(SMALL, in_channels=1))
    grey.save_weights(tmp_path / "grey.weights")
    model = Darknet.from_cfg(SMALL)
    report = model.load_weights(tmp_path / "grey.weights")
    image = torch.rand(2, 1, 32, 32)
    torch.testing.assert_close(run(model, image.expand(-1, 3, -1, -1)), run(grey, image), rtol=1e-5, atol=1e-5)
    assert "input channel was spread evenly over 3" in str(report)


def test_file_of_the_first_layers_is_folded_too(saved: tuple[Darknet, Path], tmp_path: Path) -> None:
    model, _ = saved
    model.save_weights(tmp_path / "small.conv.3", cutoff=3)
    grey = Darknet.from_cfg(SMALL, in_channels=1)
    report = grey.load_weights(tmp_path / "small.conv.3")
    assert (report.loaded, report.missing, report.file_channels) == ((0, 2), (3,), 3)
    expected = model.convolutions()[0][1].convolution.weight.sum(1, keepdim=True)
    torch.testing.assert_close(grey.convolutions()[0][1].convolution.weight, expected)


def test_file_that_fits_either_way_needs_to_be_told(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    grey = Darknet.from_cfg(SMALL, in_channels=1)
    with pytest.raises(ModelError, match=r"fits networks of 1 and 3 input channels alike\. Say which it is with file_"):
        grey.load_weights(path, cutoff=1)
    report = grey.load_weights(path, cutoff=1, file_channels=3)
    assert (report.loaded, report.file_channels) == ((0,), 3)


def test_cutoff_takes_a_file_as_it_is_where_the_network_has_its_cfgs_channels(saved: tuple[Darknet, Path]) -> None:
    _, path = saved
    assert Darknet.from_cfg(SMALL).load_weights(path, cutoff=1).file_channels == 3


@pytest.mark.parametrize(
    ("in_channels", "groups", "told"), [(2, 1, 3), (4, 2, 1)], ids=["two from three", "one into groups"]
)
def test_channels_that_cannot_be_converted(tmp_path: Path, in_channels: int, groups: int, told: int) -> None:
    cfg = NET + f"[convolutional]\nfilters=4\nsize=1\ngroups={groups}\n"
    Darknet.from_cfg(cfg, in_channels=in_channels).save_weights(tmp_path / "x.weights")
    with pytest.raises(ModelError, match=rf"of {told} input channels into a network of {in_channels}"):
        Darknet.from_cfg(cfg, in_channels=in_channels).load_weights(tmp_path / "x.weights", file_channels=told)


def test_half_precision_is_written_as_single(tmp_path: Path) -> None:
    model = with_random_weights(Darknet.from_cfg(SMALL)).bfloat16()
    model.save_weights(tmp_path / "half.weights")
    copy = Darknet.from_cfg(SMALL)
    copy.load_weights(tmp_path / "half.weights")
    expected = model.convolutions()[0][1].convolution.weight.float()
    assert torch.equal(copy.convolutions()[0][1].convolution.weight, expected)


@pytest.mark.parametrize("cutoff", [0, -1])
def test_impossible_cutoff(saved: tuple[Darknet, Path], cutoff: int) -> None:
    model, path = saved
    with pytest.raises(ModelError, match="cutoff of 1 and above"):
        model.load_weights(path, cutoff=cutoff)
    with pytest.raises(ModelError, match="cutoff of 1 and above"):
        model.save_weights(path, cutoff=cutoff)


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
