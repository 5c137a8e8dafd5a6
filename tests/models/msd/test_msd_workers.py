from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

from photon_triage.models.msd.canvas import Band, Canvas
from photon_triage.models.msd.workers import Meet, for_each_band

from .msd_reference import plain, random_model, relative_difference


@pytest.fixture(params=[2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", [(1, 150, 40), (2, 130, 30), (5, 20, 20)], ids=str)
def test_bands_join_without_a_seam(size: tuple[int, int, int]) -> None:
    model = random_model(depth=13).double()
    batch, height, width = size
    frames = torch.randn(batch, 1, height, width, dtype=torch.float64)
    parameters = list(model.parameters())
    expected_output, output = plain(model, frames), model(frames)
    upstream = torch.randn_like(output)
    expected = torch.autograd.grad(expected_output, parameters, upstream)
    found = torch.autograd.grad(output, parameters, upstream)
    assert relative_difference(output, expected_output) < 1e-12
    assert max(map(relative_difference, found, expected)) < 1e-10
    with torch.inference_mode():
        assert relative_difference(model(frames), expected_output) < 1e-12


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("height", [12, 100, 1000])
def test_bands_cover_a_canvas_once(batch: int, height: int, count: int) -> None:
    canvas = Canvas.empty(1, batch, (height, 30), 10, torch.empty(0))
    bands = canvas.bands(count)
    assert 1 <= len(bands) <= count
    assert (bands[0].start, bands[-1].stop) == (0, canvas.pixels)
    assert all(one.stop == following.start for one, following in pairwise(bands))
    canvas.maps.zero_()
    for band in bands:
        canvas.interior(0, 1, band).add_(1)
    assert bool((canvas.interior(0, 1) == 1).all())
    assert int(canvas.maps.sum()) == batch * height * 30


def test_torch_keeps_its_number_of_threads(threads: int) -> None:
    seen = []

    def note(number: int, band: Band, meet: Meet) -> None:
        seen.append(torch.get_num_threads())

    for_each_band(Canvas.empty(1, 1, (300, 30), 1, torch.empty(0)), note)
    assert seen == [1] * threads
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads")
def test_what_goes_wrong_in_a_band_is_raised_and_leaves_nobody_waiting() -> None:
    canvas = Canvas.empty(1, 1, (300, 30), 1, torch.empty(0))

    def fail(number: int, band: Band, meet: Meet) -> None:
        if number == 1:
            raise MemoryError("no room")
        meet()

    with pytest.raises(MemoryError, match="no room"):
        for_each_band(canvas, fail)
    for_each_band(canvas, lambda number, band, meet: None)
