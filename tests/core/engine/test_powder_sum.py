from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from photon_triage.core.common.errors import SessionError, UsageError
from photon_triage.core.engine.powder_sum import GrowingPowder
from photon_triage.core.engine.process import start_engine
from photon_triage.core.export.powder_files import export_powder
from photon_triage.core.frames import Batch, FrameKey, Geometry, Window, as_counts
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.powder import FILE, read_powder

from ...builders.detector_files import frames_of, write_cxi

LIT = 'name = "lit"\n[[stages]]\nkind = "lit-pixels"\nphoton_threshold = 5\nmin_lit_pixels = 2\n'


def batch(frames: np.ndarray, *, valid: np.ndarray | None = None, window: Window | None = None, whole=None) -> Batch:  # type: ignore[no-untyped-def]
    keys = tuple(FrameKey("/f.h5", "/d", place) for place in range(len(frames)))
    mask = None if valid is None else torch.from_numpy(valid)
    return Batch(keys, torch.from_numpy(frames), mask, Geometry(), window=window, whole=whole)


def test_hits_and_misses_are_added_up_apart_without_gaps_and_masked_pixels(tmp_path: Path) -> None:
    frames = np.arange(4 * 6, dtype=np.float32).reshape(4, 2, 3)
    frames[0, 0, 0], frames[1, 0, 1] = -1, np.nan
    valid = np.array([[True, True, False], [True, True, True]])
    growing = GrowingPowder(tmp_path)
    growing.add(batch(frames, valid=valid), [True, False, True, True])
    growing.save()
    powder = read_powder(tmp_path)
    assert powder is not None and (powder.hits.n, powder.misses.n) == (3, 1)
    clean = np.where(valid & (frames >= 0), frames, 0)
    np.testing.assert_allclose(powder.hits.mean, clean[[0, 2, 3]].mean(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(powder.hits.max, clean[[0, 2, 3]].max(axis=0))
    np.testing.assert_array_equal(powder.misses.sum, clean[1])
    np.testing.assert_array_equal(powder.valid, valid)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "float32"])
def test_frames_are_added_as_they_are_stored_and_windows_where_they_lie(tmp_path: Path, dtype: str) -> None:
    growing = GrowingPowder(tmp_path)
    part = np.full((1, 2, 2), 200, dtype=dtype)
    growing.add(batch(part, window=Window(1, 2, 2, 2), whole=(4, 5)), [True])
    growing.save()
    powder = read_powder(tmp_path)
    assert powder is not None and powder.valid.sum() == 4 and powder.valid[1:3, 2:4].all()
    assert powder.hits.sum[1:3, 2:4].tolist() == [[200, 200], [200, 200]] and powder.hits.sum.sum() == 800


DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")
HEIGHT, WIDTH = 4, 5


@st.composite
def batches(draw: st.DrawFn) -> tuple[Batch, list[bool]]:
    """Frames or windows of them, of any type, with gaps of every kind and a mask now and then; and which are hits."""
    dtype: np.dtype[Any] = np.dtype(draw(st.sampled_from(DTYPES)))
    window = draw(st.none() | st.just(Window(1, 2, 2, 3)))
    n = draw(st.integers(1, 5))
    if dtype.kind == "f":
        values = st.sampled_from([0.0, 0.5, 7.0, 1000.0, -1.0, math.nan])
    else:
        limits = np.iinfo(dtype)
        values = st.sampled_from(sorted({0, 1, 7, 100, int(limits.max), max(int(limits.min), -1)}))
    shape = (n, *(window.shape if window else (HEIGHT, WIDTH)))
    frames = draw(arrays(dtype, shape, elements=values, fill=st.nothing()))
    valid = draw(st.none() | arrays(np.bool_, (HEIGHT, WIDTH)))
    whole = (HEIGHT, WIDTH) if window else None
    return batch(frames, valid=valid, window=window, whole=whole), draw(st.lists(st.booleans(), min_size=n, max_size=n))


@settings(max_examples=100, deadline=None)
@given(st.lists(batches(), min_size=1, max_size=2), st.sampled_from([1, 20, 10**6]))
def test_sums_of_any_type_are_those_of_the_counts_pixel_by_pixel(
    tmp_path_factory: pytest.TempPathFactory, added: list[tuple[Batch, list[bool]]], pixels_at_once: int
) -> None:
    folder = tmp_path_factory.mktemp("powder")
    growing = GrowingPowder(folder)
    sums, highest = (np.zeros((2, HEIGHT, WIDTH)) for _ in range(2))
    seen, n = np.zeros((HEIGHT, WIDTH), bool), [0, 0]
    with patch("photon_triage.core.engine.powder_sum.SUMMED_PIXELS", pixels_at_once):
        for frames, hits in added:
            growing.add(frames, hits)
            place = (frames.window.rows, frames.window.columns) if frames.window else (slice(None), slice(None))
            valid = np.ones((HEIGHT, WIDTH), bool) if frames.valid is None else frames.valid.numpy()
            for frame, hit in zip(frames.frames.numpy(), hits, strict=True):
                counts = as_counts(frame, None if frames.valid is None else valid)
                usable = (counts >= 0) & valid[place]
                kind, told = int(not hit), np.where(usable, counts, 0)
                n[kind] += 1
                sums[kind][place] += told
                highest[kind][place] = np.maximum(highest[kind][place], told)
                seen[place] |= usable
    growing.save()
    powder = read_powder(folder)
    assert powder is not None and [powder.hits.n, powder.misses.n] == n
    for part, total, most in zip((powder.hits, powder.misses), sums, highest, strict=True):
        np.testing.assert_allclose(part.sum, total, rtol=1e-6)
        np.testing.assert_allclose(part.max, most, rtol=1e-6)
    np.testing.assert_array_equal(powder.valid, seen)


def test_what_was_saved_is_gone_on_from_and_another_shape_left_out(tmp_path: Path) -> None:
    one = np.ones((1, 2, 2), np.float32)
    for _ in range(2):
        growing = GrowingPowder(tmp_path)
        growing.add(batch(one), [True])
        growing.add(batch(np.ones((1, 3, 3), np.float32)), [True])
        growing.save()
    powder = read_powder(tmp_path)
    assert powder is not None and powder.hits.n == 2 and powder.hits.sum.tolist() == [[2, 2], [2, 2]]


def test_it_is_written_now_and_then_and_a_damaged_one_begun_anew(tmp_path: Path) -> None:
    now = [0.0]
    growing = GrowingPowder(tmp_path, clock=lambda: now[0])
    growing.add(batch(np.ones((1, 2, 2), np.float32)), [False])
    growing.save_now_and_then()
    assert read_powder(tmp_path) is None
    now[0] = 60.0
    growing.save_now_and_then()
    assert read_powder(tmp_path) is not None
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(SessionError, match="Could not read"):
        read_powder(tmp_path)
    GrowingPowder(tmp_path).add(batch(np.ones((1, 2, 2), np.float32)), [True])


@pytest.fixture
def scanned(tmp_path: Path) -> Session:
    session = Session.create(tmp_path / "session", LIT, "lit")
    write_cxi(tmp_path / "run_0001.cxi", frames_of(9))
    for _ in range(2):  # the second time there is nothing new
        assert start_engine(session, [tmp_path], once=True, patience=1).wait(60) == 0
    return session


def test_an_engine_adds_every_frame_once(scanned: Session) -> None:
    powder = read_powder(scanned.path)
    frames = frames_of(9).astype(np.float64)
    assert powder is not None and (powder.hits.n, powder.misses.n) == (5, 4)
    np.testing.assert_array_equal(powder.hits.sum, np.where(powder.valid, frames[4:].sum(axis=0), 0))
    np.testing.assert_array_equal(powder.misses.sum, np.where(powder.valid, frames[:4].sum(axis=0), 0))


def test_a_powder_is_exported_as_hdf5_and_tiff_and_nothing_else(scanned: Session, tmp_path: Path) -> None:
    powder = export_powder(scanned, tmp_path / "p.h5")
    export_powder(scanned, tmp_path / "p.tif")
    with h5py.File(tmp_path / "p.h5") as file:
        assert file["hits"].attrs["frames"] == 5 and file["misses"].attrs["frames"] == 4
        mean, difference = file["hits/mean"][()], file["difference"][()]
    np.testing.assert_array_equal(mean[powder.valid], powder.hits.mean[powder.valid])
    with tifffile.TiffFile(tmp_path / "p.tif") as tiff:
        named = {page.description: page.asarray() for page in tiff.pages}  # type: ignore[union-attr]
    np.testing.assert_array_equal(named["difference, 9 frames (simulated)"], difference)
    assert "hits/max, 5 frames (simulated)" in named
    with pytest.raises(UsageError, match="unknown ending"):
        export_powder(scanned, tmp_path / "p.png")


def test_a_session_without_a_powder_says_so(tmp_path: Path) -> None:
    session = Session.create(tmp_path / "session", LIT, "lit")
    with pytest.raises(SessionError, match="none yet"):
        export_powder(session, tmp_path / "p.h5")
