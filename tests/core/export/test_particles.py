"""Lists of particles, read back by other programs' readers or by their formats' rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imodmodel.models
import mrcfile
import numpy as np
import pandas
import pytest
import starfile
import tifffile

from photon_triage.core.common.errors import ExportError
from photon_triage.core.export.formats import FORMATS
from photon_triage.core.export.list_content import Select
from photon_triage.core.frames import FrameKey, Geometry
from photon_triage.core.session.session import Session
from photon_triage.core.sources import read_frames

from ..session.builders import build_session
from .builders import HEIGHT, candidate_session, label, write_list

IMAGE, OTHER, TOMOGRAM = "/data/m1.mrc", "/data/m2.mrc", "/data/t1.rec"
ON_IMAGE = {0: [(30, 20, 0.9), (50, 40, 0.6), (70, 10, 0.2)]}
IN_VOLUME = {2: [(30, 20, 0.9)], 5: [(31, 22, 0.7), (60, 50, 0.3)]}
PARTICLES = [each.name for each in FORMATS.values() if each.lists == "candidates"]


@pytest.fixture
def image(tmp_path: Path) -> Session:
    """One micrograph: scores 0.9, rejected 0.6, 0.2."""
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE)})
    label(session, FrameKey(IMAGE, "", 0, (50, 40)), "rejected")
    return session


@pytest.fixture
def volume(tmp_path: Path) -> Session:
    return candidate_session(tmp_path / "s", {TOMOGRAM: (8, IN_VOLUME)}, geometry=Geometry(pixel_size=13.48e-10))


def star(path: Path) -> Any:
    return starfile.read(path)


def test_relion_has_places_scores_and_classes(image: Session, tmp_path: Path) -> None:
    done, _ = write_list(image, "relion", tmp_path / "p.star", "all")
    table = star(done.path)
    assert table["rlnMicrographName"].tolist() == [IMAGE] * 3
    assert table[["rlnCoordinateX", "rlnCoordinateY"]].to_numpy().tolist() == [[30, 20], [50, 40], [70, 10]]
    assert table["rlnAutopickFigureOfMerit"].tolist() == [0.9, 0.6, 0.2]
    assert table["rlnClassNumber"].tolist() == [1, 2, 2]


def test_relion_has_slices_and_optics_of_a_tomogram(volume: Session, tmp_path: Path) -> None:
    done, manifest = write_list(volume, "relion", tmp_path / "p.star")
    tables = star(done.path)
    particles = tables["particles"]
    assert particles[["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]].to_numpy().tolist() == [
        [30, 20, 2],
        [31, 22, 5],
    ]
    assert particles["rlnTomoName"].tolist() == ["t1", "t1"]
    assert tables["optics"]["rlnTomoTiltSeriesPixelSize"].tolist() == [13.48]
    assert "z the slice from 0" in manifest["details"]["coordinates"]


def test_relion_numbers_the_images_of_a_stack(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {"/data/stack.mrcs": (8, IN_VOLUME)})
    done, _ = write_list(session, "relion", tmp_path / "p.star")
    table = star(done.path)
    assert table["rlnMicrographName"].tolist() == ["000003@/data/stack.mrcs", "000006@/data/stack.mrcs"]
    assert "rlnCoordinateZ" not in table


def test_rows_of_a_tiff_count_from_the_last_one_where_the_reader_flips_it(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {"/data/m.tif": (1, {0: [(30, 20, 0.9)]})})
    done, _ = write_list(session, "relion", tmp_path / "p.star")
    assert star(done.path)["rlnCoordinateY"].tolist() == [HEIGHT - 1 - 20]
    done, _ = write_list(session, "topaz", tmp_path / "p.txt")
    assert pandas.read_csv(done.path, sep="\t")["y_coord"].tolist() == [20]


def test_a_relion_place_is_the_voxel_that_other_readers_find_there(tmp_path: Path) -> None:
    voxels = np.zeros((3, HEIGHT, 80), np.float32)
    voxels[1, 12, 34] = 9.0
    volume, flipped = tmp_path / "t.mrc", tmp_path / "m.tif"
    with mrcfile.new(volume) as file:
        file.set_data(voxels)
    tifffile.imwrite(flipped, voxels[1])
    points = []
    for path in (volume, flipped):
        frames = read_frames(path, "", 0, 3 if path == volume else 1)
        z, y, x = np.unravel_index(int(frames.argmax()), frames.shape)
        session = candidate_session(
            tmp_path / f"s{path.suffix}", {str(path): (len(frames), {int(z): [(int(x), int(y), 0.9)]})}
        )
        done, _ = write_list(session, "relion", tmp_path / f"p{path.suffix}.star")
        points.append(star(done.path).iloc[0])
    in_volume, on_image = points
    with mrcfile.open(volume) as file:
        place = tuple(int(in_volume[f"rlnCoordinate{axis}"]) for axis in "ZYX")
        assert file.data[place] == 9.0
    # RELION turns TIFF files over as it reads them.
    turned = tifffile.imread(flipped)[::-1]
    assert turned[int(on_image["rlnCoordinateY"]), int(on_image["rlnCoordinateX"])] == 9.0


def test_images_and_volumes_do_not_stand_in_one_star_file(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE), TOMOGRAM: (8, IN_VOLUME)})
    with pytest.raises(ExportError, match="images and of volumes"):
        write_list(session, "relion", tmp_path / "p.star")


def test_eman_boxes_have_their_lower_left_corner(image: Session, tmp_path: Path) -> None:
    done, _ = write_list(image, "eman", tmp_path / "m1.box", box_size=10)
    assert np.loadtxt(done.path, dtype=int, ndmin=2).tolist() == [[25, 15, 10, 10]]
    done, _ = write_list(image, "eman", tmp_path / "odd.box", box_size=11)
    (x, y, w, h) = np.loadtxt(done.path, dtype=int).tolist()
    assert (x + w // 2, y + h // 2) == (30, 20), "the candidate is the box's middle pixel"


def test_the_recipe_says_how_large_a_box_is(image: Session, tmp_path: Path) -> None:
    _, manifest = write_list(image, "eman", tmp_path / "m1.box")
    assert manifest["details"]["box_size"] == 25


def test_cryolo_has_boxes_confidence_and_slices(volume: Session, tmp_path: Path) -> None:
    done, _ = write_list(volume, "cryolo", tmp_path / "t1.cbox", "all", box_size=10)
    tables = starfile.read(done.path, always_dict=True, parse_as_string=["EstWidth"])
    boxes = tables["cryolo"]
    assert tables["global"]["cbox_format_version"] == 1.0
    assert boxes[["CoordinateX", "CoordinateY", "CoordinateZ"]].to_numpy().tolist() == [
        [25.5, 15.5, 2],
        [26.5, 17.5, 5],
        [55.5, 45.5, 5],
    ]
    assert boxes["Confidence"].tolist() == [0.9, 0.7, 0.3]
    assert boxes["NumBoxes"].isna().all() and boxes["Angle"].isna().all()
    assert list(tables["cryolo_include"]["slice_index"]) == [2, 5]


def test_cryolo_has_no_slice_on_an_image(image: Session, tmp_path: Path) -> None:
    done, _ = write_list(image, "cryolo", tmp_path / "m1.cbox")
    boxes = starfile.read(done.path, always_dict=True)["cryolo"]
    assert len(boxes) == 1 and boxes["CoordinateZ"].isna().all()


def test_topaz_has_names_without_suffix(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE), OTHER: (1, {0: [(5, 6, 0.8)]})})
    done, _ = write_list(session, "topaz", tmp_path / "p.txt", "all")
    table = pandas.read_csv(done.path, sep="\t")
    assert list(table) == ["image_name", "x_coord", "y_coord", "score"]
    assert table.to_numpy().tolist() == [
        ["m1", 30, 20, 0.9],
        ["m1", 50, 40, 0.6],
        ["m1", 70, 10, 0.2],
        ["m2", 5, 6, 0.8],
    ]


def test_topaz_does_not_mix_images_of_one_name(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {"/a/m.mrc": (1, ON_IMAGE), "/b/m.mrc": (1, ON_IMAGE)})
    with pytest.raises(ExportError, match="the same name"):
        write_list(session, "topaz", tmp_path / "p.txt")


def test_an_imod_model_has_points_scores_and_size(volume: Session, tmp_path: Path) -> None:
    done, manifest = write_list(volume, "imod", tmp_path / "t1.mod", "all")
    model = imodmodel.models.ImodModel.from_file(done.path)
    selected, other = model.objects
    assert selected.contours[0].points.tolist() == [[30.5, 20.5, 2], [31.5, 22.5, 5]]
    assert other.contours[0].points.tolist() == [[60.5, 50.5, 5]]
    scores = [each.value for item in model.objects for each in item.contours[0].extra]
    assert scores == pytest.approx([0.9, 0.7, 0.3])
    assert (model.header.xmax, model.header.ymax, model.header.zmax) == (80, 60, 8)
    assert model.header.pixelsize == pytest.approx(13.48) and model.header.units == -10
    assert selected.header.flags.open and selected.header.flags.scattered
    assert manifest["details"]["objects"] == ["selected", "other candidates"]


def test_imod_points_are_x_y_z(volume: Session, tmp_path: Path) -> None:
    done, _ = write_list(volume, "imod-points", tmp_path / "t1.txt")
    assert np.loadtxt(done.path).tolist() == [[30.5, 20.5, 2], [31.5, 22.5, 5]]


@pytest.mark.parametrize("list_format", ["relion", "cryolo", "imod"])
def test_simulated_particles_are_said_to_be_so_in_the_list(tmp_path: Path, list_format: str) -> None:
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE)}, simulated=True)
    done, manifest = write_list(session, list_format, tmp_path / f"p{FORMATS[list_format].suffix}")
    assert b"simulated data" in done.path.read_bytes().lower()
    assert manifest["simulated"] is True


@pytest.mark.parametrize("list_format", ["eman", "topaz"])
def test_a_volume_is_refused_where_the_format_has_two_coordinates(
    volume: Session, tmp_path: Path, list_format: str
) -> None:
    with pytest.raises(ExportError, match=r"8 slices.*relion, cryolo or imod"):
        write_list(volume, list_format, tmp_path / "p.box")


@pytest.mark.parametrize("list_format", ["cryolo", "imod", "imod-points"])
def test_a_stack_of_images_is_no_volume(tmp_path: Path, list_format: str) -> None:
    session = candidate_session(tmp_path / "s", {"/data/stack.mrcs": (8, IN_VOLUME)})
    with pytest.raises(ExportError, match=r"stack of 8 images.*relion"):
        write_list(session, list_format, tmp_path / "p.txt")


@pytest.mark.parametrize("list_format", ["eman", "imod-points"])
def test_poor_candidates_are_refused_where_no_score_tells_them(
    image: Session, tmp_path: Path, list_format: str
) -> None:
    with pytest.raises(ExportError, match="--select both, or as one of relion, cryolo, topaz, imod"):
        write_list(image, list_format, tmp_path / "p.txt", "all")


@pytest.mark.parametrize("list_format", PARTICLES)
def test_frames_are_no_particles(tmp_path: Path, list_format: str) -> None:
    session = build_session(tmp_path / "s", {"/data/a.cxi": [0.9]})
    with pytest.raises(ExportError, match=r"no stage of it searches.*that fit this session are crystfel, csv"):
        write_list(session, list_format, tmp_path / "p.txt")


@pytest.mark.parametrize(
    ("list_format", "path"), [("relion", "/d/a b.mrc"), ("relion", "/d/a\nb.mrc"), ("topaz", "/d/a\tb.mrc")]
)
def test_a_name_that_would_break_the_list_is_refused(tmp_path: Path, list_format: str, path: str) -> None:
    session = candidate_session(tmp_path / "s", {path: (1, ON_IMAGE)})
    with pytest.raises(ExportError, match="cannot carry a name"):
        write_list(session, list_format, tmp_path / "p.txt")
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


def test_without_a_suffix_each_image_has_a_list_in_a_folder(tmp_path: Path) -> None:
    session = candidate_session(
        tmp_path / "s", {IMAGE: (1, ON_IMAGE), "/more/m1.mrc": (1, ON_IMAGE), OTHER: (1, {0: [(5, 6, 0.1)]})}
    )
    done, manifest = write_list(session, "eman", tmp_path / "boxes")
    assert sorted(path.name for path in done.path.iterdir()) == ["m1-2.box", "m1.box"]
    assert [(each["list"], each["of"]) for each in manifest["details"]["lists"]] == [
        ("m1.box", IMAGE),
        ("m1-2.box", "/more/m1.mrc"),
    ]
    with pytest.raises(ExportError, match="something stands there already"):
        write_list(session, "eman", tmp_path / "boxes")


def test_with_a_suffix_several_images_are_refused(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE), OTHER: (1, ON_IMAGE)})
    with pytest.raises(ExportError, match=r"of 2 files.*Name a folder as the output, without a suffix such as \.box"):
        write_list(session, "eman", tmp_path / "all.box")


def test_a_folder_that_fails_half_way_is_not_there(tmp_path: Path) -> None:
    session = candidate_session(tmp_path / "s", {IMAGE: (1, ON_IMAGE), TOMOGRAM: (8, IN_VOLUME)})
    with pytest.raises(ExportError, match="8 slices"):
        write_list(session, "eman", tmp_path / "boxes")
    assert [each.name for each in tmp_path.iterdir()] == ["s"]


@pytest.mark.parametrize("select", ["predicted", "accepted"])
def test_crystfel_lists_the_frames_that_candidates_are_on(tmp_path: Path, select: Select) -> None:
    session = candidate_session(tmp_path / "s", {TOMOGRAM: (8, IN_VOLUME)})
    label(session, FrameKey(TOMOGRAM, "", 5, (60, 50)), "accepted")
    done, _ = write_list(session, "crystfel", tmp_path / "f.lst", select)
    expected = [2, 5] if select == "predicted" else [5]
    assert done.path.read_text() == "".join(f"{TOMOGRAM} //{index}\n" for index in expected)
    assert done.written == len(expected)
