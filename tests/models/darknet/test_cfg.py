from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.models.common.errors import ModelError, ModelWarning
from photon_triage.models.darknet.cfg import parse_cfg, read_net, shipped_cfg
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.model_file import open_network

from ..builders import NET, SMALL, convolution

HEAD = "[region]\nanchors=1,1\nclasses=1\ncoords=4\nnum=1\nsoftmax=1\n"

YOLO = "[yolo]\nanchors=1,1\nclasses=1\nnum=1\n"


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ("[convolutional]\nfilters=1\n", r"expected \[net\] first, got \[convolutional\] at line 1"),
        ("batch=1\n[net]\n", r"line 1: batch stands before any"),
        ("[net]\nwidth 32\n", r"line 2: 'width 32' is neither"),
        ("[net]\nwidth=32\nheight=32\n", r"no layer follows \[net\]"),
        ("[net]\nheight=32\n[avgpool]\n", r"\[net\] at line 1: it has no width"),
        ("[net]\nwidth=wide\nheight=32\n[avgpool]\n", r"width=wide of \[net\] at line 2: not a whole number"),
        ("[net]\nwidth=0\nheight=32\n[avgpool]\n", r"width=0 of \[net\] at line 2: it is too small"),
        (NET + "policy=random\n[avgpool]\n", r"policy=random of \[net\] at line 5: not a known policy"),
        (NET + "steps=1,2\nscales=.1\n[avgpool]\n", r"line 5: expected as many scales as steps, got 2 steps and 1"),
        (NET + "[crnn]\n", r"Cannot build \[crnn\] at line 5: no such layer"),
        (NET + "[convolutional]\nactivation=loggy\n", r"activation=loggy of \[convolutional\] at line 6"),
        (NET + "[convolutional]\nfilters=4\ngroups=2\n", r"groups=2 of \[convolutional\] at line 7: 3 channels"),
        (NET + convolution(4) + "[route]\nlayers=3\n", r"line 13: layers names layer 3, which is not before layer 1"),
        (
            NET + convolution(4) + "[route]\n",
            r"\[route\] at line 12: it names no layers",
        ),
        (NET + convolution(4) + "[shortcut]\nfrom=-2\n", r"from names layer -2"),
        (NET + convolution(4) + convolution(6) + "[shortcut]\nfrom=-2\n", r"shapes \(6, 32, 32\) and \(4, 32, 32\)"),
        (NET + convolution(4) + "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=0,1\n", r"32x32, 16x16"),
        (NET + convolution(4) + "[maxpool]\nsize=2\npadding=3\n", r"padding=3 of \[maxpool\] at line 14"),
        (NET + convolution(4) + "[reorg]\nstride=3\n", r"32x32x4 cannot be reorganised by 3"),
        (NET + "[dropout]\nprobability=1\n", r"probability=1 of \[dropout\] at line 6"),
        (NET + "[softmax]\ngroups=2\n", r"channels do not divide by 2"),
        (NET + "[maxpool]\nsize=40\nstride=1\npadding=0\n", r"nothing is left of a \(3, 32, 32\) input"),
        (NET + convolution(5) + HEAD, r"expected 6 channels for 1 anchors and 1 classes, got 5"),
        (
            NET + convolution(6) + HEAD.replace("num=1", "num=2"),
            r"line 13: expected 4 positive numbers for num=2, got 2",
        ),
        (NET + convolution(6) + HEAD.replace("1,1", "1,x"), r"anchors=1,x of \[region\] at line 13: not numbers"),
        (NET + convolution(6) + YOLO + "mask=1\n", r"mask of \[yolo\] at line 16: it names anchor 1 where num=1"),
        (NET + convolution(6) + YOLO + "truth_thresh=.7\n", r"truth_thresh of \[yolo\] at line 16"),
        (NET + "[crop]\ncrop_height=33\n", r"crop_height=33 of \[crop\] at line 6: the input has 32"),
        (NET + "[avgpool]\n" + NET, r"\[net\] at line 6: it can only come first"),
        (NET + convolution(4) + "[softmax]\ntemperature=0\n", r"temperature=0 of \[softmax\] at line 13"),
        (NET + convolution(4) + "[upsample]\nstride=two\n", r"stride=two of \[upsample\] at line 13"),
        (NET + convolution(4) + "[softmax]\nspatial=1\ngroups=2\n", r"spatial of \[softmax\] at line 13"),
        (
            NET + convolution(6) + YOLO + convolution(7) + YOLO.replace("es=1", "es=2"),
            r"classes=2 of \[yolo\] at line 25",
        ),
        (NET + convolution(2**20, 17), r"\[convolutional\] at line 5: it has 909,115,392 numbers"),
        (NET + "decay=nan\n[avgpool]\n", r"decay=nan of \[net\] at line 5: not a number"),
        (NET + "batch=1_0\n[avgpool]\n", r"batch=1_0 of \[net\] at line 5: not a whole number"),
        (NET + "batch=99999999999\n[avgpool]\n", r"batch=99999999999 of \[net\] at line 5: not a whole number"),
        (NET + convolution(6) + HEAD.replace("coords=4", "coords=5"), r"coords of \[region\] at line 15"),
    ],
)
def test_errors_tell_the_line(cfg: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Darknet.from_cfg(cfg)


def test_one_warning_names_all_ignored_keys_and_why() -> None:
    cfg = NET + "mosaic=1\noptimized_memory=2\n" + convolution(4) + "dilatoin=2\nstride=2\nclip=1\n"
    with pytest.warns(ModelWarning) as warned:
        model = Darknet.from_cfg(cfg)
    (message,) = [str(warning.message) for warning in warned]
    assert message == (
        "The cfg has keys without effect: optimized_memory of [net] (line 6); "
        "keys that change Darknet's own training alone, which is not imitated: mosaic of [net] (line 5), "
        "clip of [convolutional] (line 16); "
        "keys that Darknet does not know and ignores (check the spelling): dilatoin of [convolutional] (line 14); "
        "repeated keys, of which the first counts: stride of [convolutional] (line 15)."
    )
    assert model.layer_table()[0].size == "3x3/1"


@pytest.mark.parametrize(
    ("section", "option", "neutral"),
    [
        ("net", "letter_box=1", "letter_box=0"),
        ("net", "time_steps=16", "time_steps=1"),
        ("net", "inputs=256", "inputs=3072"),
        ("convolutional", "dilation=2", "dilation=1"),
        ("convolutional", "antialiasing=1", "antialiasing=0"),
        ("convolutional", "stride_x=2", "stride_x=1"),
        ("convolutional", "share_index=0", ""),
        ("convolutional", "xnor=1", "xnor=0"),
        ("convolutional", "flipped=1", "flipped=0"),
        ("convolutional", "coordconv=1", "coordconv=0"),
        ("convolutional", "dontload=1", "dontload=0"),
        ("maxpool", "maxpool_depth=1", "maxpool_depth=0"),
        ("maxpool", "stride_y=1", "stride_y=2"),
        ("shortcut", "weights_type=per_feature", "weights_type=none"),
        ("shortcut", "alpha=.5", "alpha=1.0"),
        ("yolo", "new_coords=1", "new_coords=0"),
        ("yolo", "scale_x_y=1.05", "scale_x_y=1.0"),
        ("yolo", "iou_loss=ciou", "iou_loss=mse"),
        ("yolo", "nms_kind=diounms", "nms_kind=greedynms"),
        ("yolo", "max_delta=5", ""),
        ("region", "background=1", "background=0"),
        ("region", "classfix=-1", "classfix=0"),
        ("region", "tree=9k.tree", ""),
    ],
)
def test_keys_that_change_the_result_are_refused_unless_neutral(section: str, option: str, neutral: str) -> None:
    body = NET + convolution(6) + "[shortcut]\nfrom=-1\n[maxpool]\nsize=2\nstride=2\n"
    body += convolution(6) + (HEAD if section == "region" else YOLO)
    heading = f"[{section}]\n"
    line = body[: body.index(heading)].count("\n") + 2
    with pytest.raises(ModelError, match=rf"Cannot use {option} of \[{section}\] at line {line}: it changes"):
        Darknet.from_cfg(body.replace(heading, f"{heading}{option}\n", 1))
    if neutral:
        with pytest.warns(ModelWarning, match=f"keys without effect: {neutral.split('=')[0]} of"):
            assert Darknet.from_cfg(body.replace(heading, f"{heading}{neutral}\n", 1)).heads


def test_more_weights_than_any_network_has_are_refused_before_they_take_memory() -> None:
    cfg = NET + 4 * convolution(2**14, 1)
    with pytest.raises(ModelError, match=r"at line 12: it has 268,\d+,\d+ numbers, at most 268,"):
        Darknet.from_cfg(cfg)


def test_dilation_of_a_point_convolution_is_without_effect() -> None:
    with pytest.warns(ModelWarning, match="keys without effect: dilation"):
        Darknet.from_cfg(NET + convolution(4, 1) + "dilation=4\n")


def test_anchors_beyond_num_are_left_out_as_in_darknet() -> None:
    cfg = NET + convolution(6) + YOLO.replace("anchors=1,1", "anchors=1,2, 3,4") + "mask=0\n"
    with pytest.warns(ModelWarning, match=r"has 4 numbers in anchors of \[yolo\] \(line 13\) where num=1 needs 2"):
        (head,) = Darknet.from_cfg(cfg).heads
    assert (head.anchors, head.mask) == (((1, 2),), (0,))


def test_warnings_are_notes_of_the_opened_network(tmp_path: Path) -> None:
    path = tmp_path / "net.cfg"
    path.write_text(NET + "mosaic=1\n" + convolution(4))
    assert [note[:17] for note in open_network(str(path)).notes] == ["The cfg has keys ", "random weights"]


def test_unknown_section_is_found_before_anything_is_built() -> None:
    with pytest.raises(ModelError, match=r"\[lstm\] at line 8: no such layer. Known: net, convolutional"):
        Darknet.from_cfg(NET + "[convolutional]\nfilters=none\n\n[lstm]\n")


def test_comments_spaces_and_aliases_have_no_meaning() -> None:
    sections = parse_cfg("# first\n[network]\nwidth = 3 2 ; really\n\n[conv]\nfilters= 4 # few\n")
    assert [(section.name, section.line) for section in sections] == [("net", 2), ("convolutional", 5)]
    assert (sections[0].integer("width"), sections[1].integer("filters")) == (32, 4)


def test_training_values_of_the_seeds_cfg() -> None:
    net = read_net(parse_cfg(shipped_cfg("yolov2-seeds"))[0])
    assert (net.batch, net.learning_rate, net.momentum, net.decay, net.burn_in) == (64, 1e-4, 0.9, 5e-4, 0)
    assert (net.steps, net.scales) == ((100, 25000, 35000), (10, 0.1, 0.1))
    assert (net.saturation, net.exposure, net.hue) == (1.5, 1.5, 0.1)


def test_settings_of_a_head() -> None:
    (head,) = Darknet.from_cfg(SMALL).heads
    assert (head.kind, head.classes, head.anchors, head.mask) == ("region", 2, ((1, 1), (3, 2)), (0, 1))
    assert (head.object_scale, head.noobject_scale, head.thresh, head.rescore) == (5, 1, 0.6, True)


def test_cfg_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "small.cfg"
    path.write_text(SMALL)
    assert Darknet.from_cfg(path).cfg == SMALL
    assert Darknet.from_cfg(str(path)).cfg == SMALL


def test_file_with_brackets_in_its_name_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "small[1].cfg"
    path.write_text("\ufeff" + SMALL, encoding="utf-8")
    assert Darknet.from_cfg(str(path)).heads


def test_shipped_cfg_is_read_by_its_name() -> None:
    assert Darknet.from_cfg("hitnet").cfg == shipped_cfg("hitnet")


def test_missing_file_names_the_shipped_cfgs(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Cannot read the cfg file .*no\.cfg.*hitnet"):
        Darknet.from_cfg(tmp_path / "no.cfg")


def test_unknown_shipped_cfg() -> None:
    with pytest.raises(ModelError, match="Cannot find the cfg yolov9"):
        shipped_cfg("yolov9")


@pytest.mark.parametrize("option", [{"in_channels": 0}, {"classes": -1}, {"classes": 1.5}, {"classes": True}])
def test_impossible_channels_and_classes(option: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="Allowed: whole numbers, 1 and above"):
        Darknet.from_cfg(SMALL, **option)


@given(st.text(alphabet="[]=#;\n ab1,.-", max_size=60))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        sections = parse_cfg(text)
    except ModelError:
        return
    assert sections[0].name == "net"
