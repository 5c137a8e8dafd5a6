from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.training.data.objects import objects_in
from photon_triage.core.training.dispatch import run_network_training
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.patches.finder_learner import search
from photon_triage.core.training.tasks.patches.patch_sampler import Marked, PatchSampler, elsewhere_drawn, objects_drawn
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.patch_finder import PatchFinder, load_patch_finder

from ...builders import Scene, new_session, scene, write_mask, write_scenes

CPU = torch.device("cpu")
SMALL = {"patch": 20, "widths": [4, 8], "hidden": [16]}


def job(folder: Path, **changes: Any) -> NetworkJob:
    """A small training on the scenes in a folder."""
    small = NetworkJob(
        new_session(folder / "session"), network="lenet", options=SMALL, images=(folder / "images",),
        masks=(folder / "masks",), classes=("disc",), iterations=90, rate=3e-3, batch=32, name="discs", device="cpu",
    )  # fmt: skip
    return replace(small, **changes)


def marked(drawn: Scene) -> Marked:
    return Marked(drawn.image(), objects_in(drawn.discs), ~drawn.discs)


def write_points(path: Path, scenes: list[Scene], rejected: tuple[int, int] | None = None) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "index", "verdict", "x", "y"])
        for number, each in enumerate(scenes):
            for x, y in each.centres:
                table.writerow([f"images/{number:02}.tif", 0, "accepted", x, y])
            if rejected is not None:
                table.writerow([f"images/{number:02}.tif", 0, "rejected", *rejected])
    return path


def test_a_network_learns_to_find_objects_and_is_registered(tmp_path: Path) -> None:
    write_scenes(tmp_path, 8)
    made = run_network_training(job(tmp_path))
    report = made.report()
    scores = report["scores"]["discs"]
    assert (scores["n"], scores["images"], report["objects"]) == (3, 1, 15)
    assert scores["found"] >= 2 and scores["precision"] > 0.5, scores
    assert scores["patches"]["f1"] > 0.8 and scores["patches"]["n"] == 2 * 3 * 20
    metadata = read_metadata(made.entry.path)
    assert metadata["classes"] == ["other", "disc"] and metadata["architecture"]["patch"] == 20
    assert metadata["training"]["min_distance"] == 12 and metadata["input"]["normalise"] == "training"
    finder = load_patch_finder(made.entry.path)
    drawn = scene(7)
    found = search(finder, PatchSampler([drawn.image()], finder), [None], 12, CPU)[0]
    assert sum(candidate.score >= 0 for candidate in found) == scores["candidates"]


def test_it_learns_from_points_as_well(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 6)
    points = write_points(tmp_path / "points.csv", scenes, rejected=(1, 1))
    report = run_network_training(job(tmp_path, masks=(), points=points)).report()
    scores = report["scores"]["discs"]
    assert scores["n"] == 3 and scores["found"] >= 2 and report["classes"] == ["other", "disc"]


def test_a_registered_finder_is_continued_and_compared(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    first = run_network_training(job(tmp_path, iterations=5)).report()
    again = job(tmp_path, network=None, options={}, classes=(), base="discs", name=None, iterations=3)
    second = run_network_training(again).report()
    assert list(second["scores"]) == ["discs", "discs-2"] and second["classes"] == ["other", "disc"]
    assert second["scores"]["discs"] == first["scores"]["discs"] and second["chosen_by_held_back"]


def test_images_for_the_test_teach_nothing(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 6)
    first = run_network_training(job(tmp_path, iterations=4)).entry.path
    write_mask(tmp_path / "masks" / "05.png", np.roll(scenes[5].discs, 30, 1) * np.uint8(255))
    assert run_network_training(job(tmp_path, iterations=4)).entry.path.name == first.name


def test_candidates_lie_where_the_search_is_allowed(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 3)
    for number, each in enumerate(scenes):
        folder = tmp_path / "within"
        folder.mkdir(exist_ok=True)
        half = np.zeros_like(each.discs)
        half[:, :48] = True
        write_mask(folder / f"{number:02}.png", half | each.discs)
    made = run_network_training(job(tmp_path, within=(tmp_path / "within",), margin=3, iterations=6))
    assert made.facts["within"] and made.facts["margin"] == 3
    finder = load_patch_finder(made.entry.path)
    drawn = scene(2)
    region = np.zeros((96, 96), bool)
    region[:, :48] = True
    found = search(finder, PatchSampler([drawn.image()], finder), [region], 5, CPU)[0]
    assert found and all(candidate.x < 48 for candidate in found)


def test_a_patch_about_a_pixel_has_it_in_its_middle_and_is_mirrored_at_the_border() -> None:
    drawn = scene(1)
    finder = PatchFinder(LeNetPatch(patch=20, widths=[4, 8], hidden=[16]), ("other", "disc"))
    patches = PatchSampler([drawn.image()], finder)
    whole = patches.whole(0)[0, 0]
    sites = np.array([[0, 0, 0], [0, 50, 33], [0, 95, 95]])
    cut = patches.cut(sites)[:, 0]
    assert torch.equal(cut[:, 10, 10], torch.stack([whole[10, 10], whole[60, 43], whole[105, 105]]))
    assert torch.equal(cut[0, 10 - 3, 10:], cut[0, 10 + 3, 10:])
    with torch.no_grad():
        dense = finder.network.dense(patches.whole(0))[0]
        assert torch.allclose(finder.network(patches.cut(sites)), dense[:, sites[:, 1], sites[:, 2]].T, atol=1e-4)


def test_patches_are_moved_but_stay_on_their_image() -> None:
    drawn = scene(1)
    finder = PatchFinder(LeNetPatch(patch=20, widths=[4, 8], hidden=[16]), ("other", "disc"))
    patches = PatchSampler([drawn.image()], finder)
    sites = np.tile([[0, 0, 95]], (200, 1))
    moved = patches.moved(sites, 2, np.random.default_rng(0))
    assert set(moved[:, 1].tolist()) == {0, 1, 2} and set(moved[:, 2].tolist()) == {93, 94, 95}


def test_sites_are_drawn_where_they_should() -> None:
    drawn = [scene(1), scene(2, discs=1)]
    images = [marked(each) for each in drawn]
    rng = np.random.default_rng(0)
    on, off = objects_drawn(images)(rng, 400), elsewhere_drawn(images)(rng, 400)
    assert all(drawn[i].discs[y, x] for i, y, x in on.tolist())
    assert not any(drawn[i].discs[y, x] for i, y, x in off.tolist())
    # Each object has the same chance: three on the first image, one on the second.
    assert 0.65 < np.mean(on[:, 0] == 0) < 0.85 and 0.4 < np.mean(off[:, 0] == 0) < 0.6


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"masks": ()}, "either masks or points"),
        ({"points": Path("points.csv")}, "either masks or points"),
        ({"crop": 32}, "--crop was given, of which this training has no use"),
        ({"options": {"patch": 4}}, "patch"),
        ({"options": {"classes": 5}}, "follows from the data"),
        ({"options": {"patch": 300, "widths": [4], "kernels": [5], "hidden": [4]}}, "patches of 300 pixels"),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    write_scenes(tmp_path, 2)
    with pytest.raises(TrainingError, match=complaint) as caught:
        run_network_training(job(tmp_path, **changes))
    assert caught.value.hint and not list((tmp_path / "session" / "models").iterdir())


def test_held_back_images_without_objects_are_told(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    write_mask(tmp_path / "masks" / "01.png", np.zeros((96, 96), np.uint8))
    with pytest.raises(TrainingError, match=r"held-back images have no objects: 01\.tif"):
        run_network_training(job(tmp_path))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("images/00.tif,0,accepted,96,5", r"96, 5 lies outside of 00\.tif, which has 96 x 96"),
        ("images/00.tif,0,accepted,,", "has no x and y"),
        ("elsewhere/00.tif,0,accepted,5,5", "1 points are of other files"),
        ("images/00.tif,0,rejected,5,5", "none that was accepted"),
    ],
)
def test_points_that_cannot_be_are_told(tmp_path: Path, row: str, complaint: str) -> None:
    write_scenes(tmp_path, 2)
    points = tmp_path / "points.csv"
    points.write_text(f"file,index,verdict,x,y\n{row}\n")
    with pytest.raises(TrainingError, match=complaint):
        run_network_training(job(tmp_path, masks=(), points=points))
