from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from photon_triage.core.common.errors import SourceError, TrainingError
from photon_triage.core.training.data.images import read_examples

from ..builders import write_mask, write_scenes


def test_folders_are_paired_by_name(tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path, 3)
    examples = read_examples([tmp_path / "images"], [tmp_path / "masks"])
    assert [example.image.name for example in examples] == ["00.tif", "01.tif", "02.tif"]
    for example, scene in zip(examples, scenes, strict=True):
        assert np.array_equal(example.image.pixels, scene.pixels) and example.image.usable.all()
        assert example.mask is not None and np.array_equal(example.mask == 255, scene.discs)


def test_numbers_in_names_are_sorted_as_numbers(tmp_path: Path) -> None:
    for number in (2, 10):
        write_mask(tmp_path / f"{number}.png", np.full((4, 4), number, np.uint8))
    assert [int(each.image.pixels[0, 0]) for each in read_examples([tmp_path])] == [2, 10]


def test_a_stack_is_paired_with_its_masks(tmp_path: Path) -> None:
    stack = np.arange(3 * 32 * 33, dtype=np.float32).reshape(3, 32, 33)
    stack[1, 0, 0] = np.nan
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        file["entry/data"] = stack
    np.save(tmp_path / "masks.npy", (stack > 1500).astype(np.int64))
    examples = read_examples([tmp_path / "stack.h5"], [tmp_path / "masks.npy"])
    assert [example.image.name for example in examples] == ["stack.h5", "stack.h5[1]", "stack.h5[2]"]
    assert [int((~example.image.usable).sum()) for example in examples] == [0, 1, 0]
    masks = [example.mask for example in examples if example.mask is not None]
    assert np.array_equal(np.stack(masks), stack > 1500)


def test_only_takes_a_slice_of_the_pairs(tmp_path: Path) -> None:
    write_scenes(tmp_path, 4)
    examples = read_examples([tmp_path / "images"], [tmp_path / "masks"], [tmp_path / "masks"], slice(1, 3))
    assert [example.image.name for example in examples] == ["01.tif", "02.tif"]
    assert all(example.within is not None and example.within.any() for example in examples)
    with pytest.raises(TrainingError, match="none of the 4 images"):
        read_examples([tmp_path / "images"], only=slice(9, None))


def test_a_missing_mask_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 3)
    (tmp_path / "masks" / "01.png").unlink()
    with pytest.raises(TrainingError, match=r"3 images with 2 masks; without a mask of their name: 01\.tif"):
        read_examples([tmp_path / "images"], [tmp_path / "masks"])


def test_a_mask_of_another_shape_is_named(tmp_path: Path) -> None:
    write_scenes(tmp_path, 1)
    write_mask(tmp_path / "masks" / "00.png", np.zeros((8, 9), np.uint8))
    with pytest.raises(TrainingError, match=r"00\.png: it has 8 x 9 pixels, its image 00\.tif has 96 x 96"):
        read_examples([tmp_path / "images"], [tmp_path / "masks"])


def test_what_is_no_image_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such file"):
        read_examples([tmp_path / "nowhere"])
    with pytest.raises(TrainingError, match="no image files"):
        read_examples([tmp_path])
    write_mask(tmp_path / "colour.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(TrainingError, match="colour picture of 3 channels"):
        read_examples([tmp_path / "colour.png"])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"broken\.png"):
        read_examples([tmp_path / "broken.png"])
    np.save(tmp_path / "line.npy", np.zeros(4))
    with pytest.raises(TrainingError, match=r"shape \(4,\)"):
        read_examples([tmp_path / "line.npy"])
    np.save(tmp_path / "half.npy", np.full((4, 4), 0.5))
    write_mask(tmp_path / "grey.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(TrainingError, match="it holds fractions"):
        read_examples([tmp_path / "grey.png"], [tmp_path / "half.npy"])
