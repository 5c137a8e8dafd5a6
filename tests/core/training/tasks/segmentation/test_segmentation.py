from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.session.models.catalog import find_model
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.classes import VOID
from photon_triage.core.training.data.images import normalisation_from, normalised
from photon_triage.core.training.dispatch import run_network_training
from photon_triage.core.training.model.job import NetworkJob
from photon_triage.core.training.tasks.segmentation.segmentation import (
    Mapped,
    SegmentationPlan,
    score_segmenter,
    train_segmenter,
)
from photon_triage.models.common.checkpoint import read_metadata
from photon_triage.models.common.classes import EACH_FRAME
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.segmenter import Segmenter, load_segmenter

from ...builders import new_session, scene, write_mask, write_scenes

CPU = torch.device("cpu")
ALL_OBJECT_F1 = 0.07
"""What calling every pixel an object would reach: discs are 3.6 % of the pixels."""


def mapped(seed: int) -> Mapped:
    drawn = scene(seed)
    return Mapped(drawn.image(), drawn.discs.astype(np.uint8))


def segmenter(images: list[Mapped]) -> Segmenter:
    torch.manual_seed(0)
    names = ("background", "disc")
    return Segmenter(MSDNet(depth=5), names, normalisation_from([each.image for each in images]))


def trained(images: list[Mapped], validation: list[Mapped], iterations: int = 20, rate: float = 1e-2) -> Segmenter:
    made = segmenter(images)
    list(train_segmenter(made, images, validation, SegmentationPlan(iterations, 2, rate, 64), CPU))
    return made


def job(folder: Path, **changes: Any) -> NetworkJob:
    """A small training on the scenes in a folder."""
    small = NetworkJob(
        new_session(folder / "session", "tomo"), network="msd", options={"depth": 5}, images=(folder / "images",),
        masks=(folder / "masks",), classes=("background", "disc"), iterations=40, rate=1e-2, batch=2, crop=64,
        name="discs", seed=1, device="cpu", command="photon-triage train S",
    )  # fmt: skip
    return replace(small, **changes)


def test_a_network_learns_and_is_registered_with_its_scores(tmp_path: Path) -> None:
    write_scenes(tmp_path, 8)
    notes: list[float | None] = []
    made = run_network_training(job(tmp_path), lambda done, planned, loss, f1: notes.append(f1))
    report = made.report()
    assert report["images"] == {
        "training": [f"{number:02}.tif" for number in range(5)], "validation": ["06.tif"], "test": ["07.tif"]
    }  # fmt: skip
    scores = report["scores"]["discs"]
    assert scores["f1"] > 0.5 > ALL_OBJECT_F1 and scores["n"] == 96 * 96 and not report["chosen_by_held_back"]
    assert len(notes) == 40 and sum(f1 is not None for f1 in notes) == 10
    metadata = read_metadata(made.entry.path)
    assert metadata["classes"] == ["background", "disc"] and metadata["architecture"]["family"] == "msd"
    assert metadata["input"] == report["input"] and metadata["input"]["normalise"] == "training"
    assert metadata["scores"] == scores and metadata["data"]["trained_on"] == 5
    assert (metadata["command"], metadata["parent"], metadata["iterations"]) == ("photon-triage train S", None, 40)
    loaded = load_segmenter(made.entry.path)
    drawn = scene(7)
    assert score_segmenter(loaded, [Mapped(drawn.image(), drawn.discs.astype(np.uint8))], CPU) == scores


def test_a_registered_network_is_continued_and_compared(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6)
    first = run_network_training(job(tmp_path, iterations=10)).report()
    second = run_network_training(job(tmp_path, network=None, options={}, base="discs", name=None, iterations=2))
    report = second.report()
    assert (report["name"], report["parent"], list(report["scores"])) == ("discs-2", "discs", ["discs", "discs-2"])
    assert report["scores"]["discs"] == first["scores"]["discs"] and report["input"] == first["input"]


def test_a_unet_learns_too(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    options = {"depth": 2, "width": 4}
    made = run_network_training(job(tmp_path, network="unet", options=options, iterations=30)).report()
    assert made["family"] == "unet" and made["chosen_by_held_back"] and made["scores"]["discs"]["f1"] > 0.3


def test_images_for_the_test_teach_nothing(tmp_path: Path) -> None:
    write_scenes(tmp_path, 6)
    first = run_network_training(job(tmp_path, iterations=3)).entry.path
    tifffile.imwrite(tmp_path / "images" / "05.tif", np.full((96, 96), 7, np.uint8))
    second = run_network_training(job(tmp_path, iterations=3)).entry.path
    # The name holds a hash of the weights.
    assert first.name == second.name


def test_void_pixels_are_neither_learned_nor_scored() -> None:
    images = [mapped(seed) for seed in range(3)]
    for each in images:
        each.classes[:, :30] = VOID
    made = trained(images, images[:1], 4)
    assert score_segmenter(made, images[:1], CPU)["n"] == 96 * 66
    only_void = Mapped(images[0].image, np.full((96, 96), VOID, np.uint8))
    assert score_segmenter(made, [only_void], CPU)["f1"] is None


def test_an_image_without_anything_to_learn_does_no_harm() -> None:
    images = [mapped(0), Mapped(mapped(1).image, np.full((96, 96), VOID, np.uint8))]
    made = trained(images, images[:1], 10)
    assert all(bool(parameter.isfinite().all()) for parameter in made.network.parameters())


def test_what_is_void_may_be_any_class_in_the_masks(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 6)
    for number, each in enumerate(scenes):
        mask = each.discs.astype(np.uint8)
        mask[:, 48:] = 9
        write_mask(tmp_path / "masks" / f"{number:02}.png", mask)
    report = run_network_training(job(tmp_path, void=9, iterations=2)).report()
    assert report["classes"] == ["background", "disc"] and report["scores"]["discs"]["n"] == 96 * 48


def test_the_best_checkpoint_is_kept() -> None:
    images, judge = [mapped(seed) for seed in range(3)], [mapped(9)]
    made = segmenter(images)
    plan = SegmentationPlan(24, 2, 0.1, 64, checks=8)
    steps = list(train_segmenter(made, images, judge, plan, CPU))
    seen = [step.f1 for step in steps if step.f1 is not None]
    assert len(seen) == 8 and score_segmenter(made, judge, CPU)["f1"] == pytest.approx(max(seen))


def test_grey_values_are_normalised_over_the_training_set() -> None:
    images = [mapped(seed).image for seed in range(3)]
    images[0].usable[:50] = False
    normalise = normalisation_from(images)
    values = np.concatenate([image.pixels[image.usable] for image in images]).astype(float)
    assert (normalise.mean, normalise.deviation) == pytest.approx((values.mean(), values.std()))
    frame = normalised(images[0], EACH_FRAME)
    assert frame[50:].mean() == pytest.approx(0, abs=1e-4) and not frame[:50].any()


def test_a_rate_too_high_is_told() -> None:
    images = [mapped(seed) for seed in range(2)]
    with pytest.raises(TrainingError, match="diverged at batch"):
        trained(images, images, rate=1e30)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"network": "hopfield"}, "train a hopfield network"),
        ({"network": "darknet"}, "--model CFG"),
        ({"options": {"deep": 3}}, "deep"),
        ({"options": {"depth": 0}}, "depth"),
        ({"options": {"out_channels": 3}}, "follows from the data"),
        ({"crop": 97}, "97 x 97 pixels from 00.tif: it has 96 x 96"),
        ({"classes": ("a", "b", "c")}, "the names are a, b, c"),
        ({"masks": ()}, "there are no masks"),
        ({"within": (Path("masks"),)}, "--within was given, of which"),
        ({"only": slice(0, 1)}, "at least two images"),
        ({"name": "../discs"}, "name a model"),
        ({"normalise": "nothing"}, "normalise by 'nothing'"),
        ({"network": "unet", "options": {}, "base": "discs"}, "discs, a msd network, on this. Here unet can learn"),
        ({"base": "discs"}, "it is a trained network"),
        ({"network": None, "options": {}}, "no network was named"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    write_scenes(tmp_path, 2)
    models = tmp_path / "session" / "models"
    if "base" in changes:
        run_network_training(job(tmp_path, iterations=1))
    before = set(models.glob("*"))
    with pytest.raises(TrainingError) as caught:
        run_network_training(job(tmp_path, **changes))
    assert caught.value.hint and complaint in str(caught.value)
    assert set(models.glob("*")) == before


def test_empty_masks_are_told(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    for number in range(2):
        write_mask(tmp_path / "masks" / f"{number:02}.png", np.zeros((96, 96), np.uint8))
    with pytest.raises(TrainingError, match="one class only, the value 0"):
        run_network_training(job(tmp_path))


def test_an_interrupted_training_writes_nothing(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)

    def interrupt(done: int, planned: int, loss: float, f1: float | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_network_training(job(tmp_path), interrupt)
    assert not list((tmp_path / "session" / "models").iterdir())


def test_a_session_finds_its_model(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2)
    entry = run_network_training(job(tmp_path, iterations=1)).entry
    assert find_model("discs", Session.open(tmp_path / "session").models_path) == entry
