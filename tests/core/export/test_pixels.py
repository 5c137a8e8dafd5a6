"""Exports that hold pixels: CXI subsets, masks, data sets to train on; read back by other programs' readers."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from spi_em_class import config, em_data

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.mask_files import NO_CLASS
from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.rows import ClassMap

from ..session.builders import build_session, key
from .builders import HEIGHT, WIDTH, candidate_session, frame_session, label, write_frames, write_list

CENTRE = Geometry(beam_center_x=7.5, beam_center_y=8.5)
SCORES = [0.9, 0.1, 0.8, 0.7, 0.2, 0.6]
SELECTED = [0, 2, 3, 5]
VOLUME = "/data/t1.rec"


def as_spi_em_class_reads(path: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The frames' good pixels and their radii, (n, pixels), as spi_em_class converts a CXI file."""
    assert em_data.check_cxi_file(path)
    params = config.default_config() | {"q_max": 0, "q_min": 0, "binning": 1, "friedel": False, "logscale": False}
    with h5py.File(path, "r") as file, h5py.File(folder / "em.h5", "w") as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses what newer versions of h5py would have otherwise
        em_data.convert_image_group(file["entry_1/image_1"], out.create_group("image_1"), params)
        return out["image_1/data"][:], out["image_1/q_values"][:]


@pytest.mark.parametrize("copy", [False, True])
def test_a_cxi_subset_is_read_by_spi_em_class(tmp_path: Path, copy: bool) -> None:
    frames = write_frames(tmp_path / "run.cxi")
    session = frame_session(tmp_path / "s", {tmp_path / "run.cxi": SCORES}, geometry=CENTRE)
    done, manifest = write_list(session, "spi-cxi", tmp_path / "sub.cxi", copy=copy)
    values, radii = as_spi_em_class_reads(done.path, tmp_path)
    assert np.array_equal(values.reshape(4, 16, 16), frames[SELECTED])
    assert radii.reshape(16, 16).min() == radii.reshape(16, 16)[8, 7] == pytest.approx(np.sqrt(0.5))
    with h5py.File(done.path) as file:
        assert file["entry_1/image_1/data"].is_virtual is not copy
    assert manifest["details"] == {"data": "copied" if copy else "virtual", "groups": 1}


def test_scores_and_sizes_stand_beside_the_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "run.cxi")
    session = frame_session(tmp_path / "s", {tmp_path / "run.cxi": SCORES}, geometry=CENTRE, simulated=True)
    done, _ = write_list(session, "spi-cxi", tmp_path / "sub.cxi")
    with h5py.File(done.path) as file:
        group = file["entry_1/image_1"]
        assert group["scores"][:].tolist() == [0.9, 0.8, 0.7, 0.6]
        assert group["sizes"][:].tolist() == [60, 62, 63, 65] and group["sizes"].attrs["units"] == "nm"
        assert group["source_index"][:].tolist() == SELECTED
        assert set(group["source_file"].asstr()) == {str(tmp_path / "run.cxi")}
        assert "simulation" in file.attrs["note"]
    em_data.save2cxi(done.path, np.arange(4), "selected")
    with h5py.File(done.path) as file:
        assert file["entry_1/image_1/selected"][:].tolist() == [0, 1, 2, 3]


def test_files_of_one_kind_share_a_group_and_others_have_their_own(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.cxi" for name in "abc")
    one, two, _ = write_frames(first), write_frames(second, 5), write_frames(third, 4, 20, 12)
    session = frame_session(tmp_path / "s", {first: SCORES, second: [0.9] * 5}, geometry=CENTRE)
    other = frame_session(tmp_path / "o", {first: SCORES, third: [0.9] * 4}, geometry=CENTRE)
    done, _ = write_list(session, "spi-cxi", tmp_path / "same.cxi")
    with h5py.File(done.path) as file:
        assert np.array_equal(file["entry_1/image_1/data"][:], np.concatenate([one[SELECTED], two]))
        assert list(file["entry_1"]) == ["image_1"]
    with pytest.raises(ExportError, match="were 16 x 16 pixels when they were triaged, and are 20 x 12 now"):
        write_list(other, "spi-cxi", tmp_path / "other.cxi")


def test_a_centre_that_nobody_knows_is_said_to_be_the_middle(tmp_path: Path) -> None:
    write_frames(tmp_path / "run.cxi")
    session = frame_session(tmp_path / "s", {tmp_path / "run.cxi": SCORES}, recipe="sfx")
    done, manifest = write_list(session, "spi-cxi", tmp_path / "sub.cxi", copy=True)
    assert manifest["details"]["image_center_is_the_middle_of_the_frame"] == ["image_1"]
    with h5py.File(done.path) as file:
        assert file["entry_1/image_1/image_center"][:].tolist() == [7.5, 7.5, 0]


def test_tiff_frames_are_copied_and_never_virtual(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    frames = np.arange(6 * 256, dtype=np.uint16).reshape(6, 16, 16)
    tifffile.imwrite(path, frames, photometric="minisblack")
    session = frame_session(tmp_path / "s", {path: SCORES}, dataset="", dtype="uint16", geometry=CENTRE)
    with pytest.raises(ExportError, match=r"TIFF file.*--copy"):
        write_list(session, "spi-cxi", tmp_path / "sub.cxi")
    assert not list(tmp_path.glob(".*"))
    done, _ = write_list(session, "spi-cxi", tmp_path / "sub.cxi", copy=True)
    assert np.array_equal(as_spi_em_class_reads(done.path, tmp_path)[0].reshape(4, 16, 16), frames[SELECTED])


def test_frames_of_other_axes_are_not_put_into_a_virtual_data_set(tmp_path: Path) -> None:
    write_frames(tmp_path / "run.cxi")
    session = frame_session(tmp_path / "s", {tmp_path / "run.cxi": SCORES}, geometry=CENTRE)
    with h5py.File(tmp_path / "run.cxi", "r+") as file:
        held = file["entry_1/data_1/data"][:]
        del file["entry_1/data_1/data"]
        # The same frames, two modules of 8 rows each: a virtual data set of (frame, y, x) does not fit them.
        file["entry_1/data_1/data"] = held.reshape(6, 2, 8, 16)
        file["entry_1/data_1/data"].attrs["axes"] = "experiment_identifier:module_identifier:y:x"
    with pytest.raises(ExportError, match=r"has the shape \(6, 2, 8, 16\).*--copy"):
        write_list(session, "spi-cxi", tmp_path / "sub.cxi")
    assert not (tmp_path / "sub.cxi").exists()


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {str(tmp_path / "gone.cxi"): [0.9, 0.8]})
    with pytest.raises(ExportError, match=r"gone\.cxi for the export"):
        write_list(session, "spi-cxi", tmp_path / "sub.cxi")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def mask(value: int) -> ClassMap:
    values = np.zeros((40, 50), np.uint8)
    values[10:20, 5:25] = value
    return ClassMap(values, ("background", "membrane"), top=7, left=9, background=0)


@pytest.fixture
def segmented(tmp_path: Path) -> Session:
    """Four slices, of which 1 and 2 have a mask and a candidate."""
    found = {1: [(30, 20, 0.9)], 2: [(31, 20, 0.8)]}
    return candidate_session(tmp_path / "s", {VOLUME: (4, found)}, {1: mask(1), 2: mask(1)}, simulated=True)


def expected_masks(*indices: int) -> np.ndarray:
    whole = np.full((4, HEIGHT, WIDTH), NO_CLASS, np.uint8)
    for index in indices:
        whole[index, 7:47, 9:59] = mask(1).values
    return whole


def test_masks_as_tiff_have_the_shape_of_the_input(segmented: Session, tmp_path: Path) -> None:
    done, manifest = write_list(segmented, "mask-tiff", tmp_path / "m.tif")
    assert np.array_equal(tifffile.imread(done.path), expected_masks(1, 2))
    with tifffile.TiffFile(done.path) as tiff:
        told = json.loads(tiff.pages[0].description)  # type: ignore[union-attr]
    assert told["classes"] == ["background", "membrane"] and "simulation" in told["note"]
    assert manifest["details"]["masks"] == 2
    with Image.open(done.path) as image:
        image.seek(1)
        assert np.array_equal(np.asarray(image), expected_masks(1)[1])


def test_masks_as_hdf5_say_which_frames_have_one(segmented: Session, tmp_path: Path) -> None:
    label(segmented, FrameKey(VOLUME, "", 2, (31, 20)), "accepted")
    done, _ = write_list(segmented, "mask-hdf5", tmp_path / "m.h5", "accepted")
    with h5py.File(done.path) as file:
        assert np.array_equal(file["masks"][:], expected_masks(2))
        assert file["selected"][:].tolist() == [False, False, True, False]
        assert file["scores"][:].tolist() == [0.0, 0.9, 0.8, 0.0]
        assert json.loads(file["masks"].attrs["classes"]) == ["background", "membrane"]


def test_masks_that_are_not_there_are_said(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {VOLUME: (2, {0: [(30, 20, 0.9)]})})
    with pytest.raises(ExportError, match="no selected frame of it has one"):
        write_list(session, "mask-tiff", tmp_path / "m.tif")
    with pytest.raises(ExportError, match="no stage that segments"):
        write_list(build_session(tmp_path / "f", {"/a.cxi": [0.9]}), "mask-tiff", tmp_path / "m.tif")


def boxes_of(
    folder: Path, part: str, name: str, classes: dict[int, str]
) -> list[tuple[str, float, float, float, float]]:
    """The boxes of an image by the format's rule: class, left, top, width, height in pixels."""
    with Image.open(folder / "images" / part / f"{name}.png") as image:
        width, height = image.size
    found = []
    for line in (folder / "labels" / part / f"{name}.txt").read_text().splitlines():
        number, x, y, w, h = (float(field) for field in line.split())
        found.append((classes[int(number)], (x - w / 2) * width, (y - h / 2) * height, w * width, h * height))
    return found


def test_a_yolo_data_set_has_boxes_classes_and_images_without_objects(tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "run.cxi")
    session = frame_session(tmp_path / "s", {tmp_path / "run.cxi": SCORES}, simulated=True)
    label(session, key(str(tmp_path / "run.cxi"), 1), "rejected")
    label(session, key(str(tmp_path / "run.cxi"), 2), "accepted", "double: odd")
    done, manifest = write_list(session, "yolo", tmp_path / "set")
    text = (done.path / "data.yaml").read_text()
    told = yaml.safe_load(text)
    assert told["names"] == {0: "double: odd", 1: "single"} and "# Simulated data" in text
    assert manifest["details"]["images"] == {"train": 4, "val": 1}
    names = sorted(path.stem for path in (done.path / told["train"]).iterdir())
    found = [boxes_of(done.path, "train", name, told["names"]) for name in names]
    assert [boxes[0][0] if boxes else "" for boxes in found] == ["single", "", "double: odd", "single"]
    assert found[0][0][1:] == pytest.approx((2, 4, 8, 4), abs=1e-4)
    with Image.open(done.path / "images" / "train" / f"{names[0]}.png") as image:
        shown = np.asarray(image)
    assert shown.dtype == np.uint8
    full_scale = session.recipe().prepare.full_scale
    assert full_scale is not None
    assert np.array_equal(shown, np.round(255 * np.log1p(frames[0]) / np.log1p(full_scale)))


def test_a_yolo_data_set_of_candidates_has_a_box_about_each(tmp_path: Path) -> None:
    path = tmp_path / "m.tif"
    picture = np.random.default_rng(2).normal(100, 10, (HEIGHT, WIDTH)).astype(np.float32)
    tifffile.imwrite(path, picture)
    found = {0: [(30, 20, 0.9), (2, 58, 0.8)]}
    session = candidate_session(tmp_path / "s", {str(path): (1, found)}, dtype="float32")
    done, _ = write_list(session, "yolo", tmp_path / "set", box_size=11)
    (name,) = (path.stem for path in (done.path / "images" / "train").iterdir())
    boxes = boxes_of(done.path, "train", name, {0: "candidate"})
    assert [box[1:] for box in boxes] == [
        pytest.approx((0, 53, 8, 7), abs=1e-3),
        pytest.approx((25, 15, 11, 11), abs=1e-3),
    ], "a box is cut at the image's edge"


def test_a_yolo_data_set_without_a_box_is_refused(tmp_path: Path) -> None:
    session = build_session(tmp_path / "s", {"/data/a.cxi": [0.9]})
    with pytest.raises(ExportError, match="no selected frame has a box"):
        write_list(session, "yolo", tmp_path / "set")
    with pytest.raises(ExportError, match="nothing would tell the poor ones apart"):
        write_list(session, "yolo", tmp_path / "set", "all")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
