"""From a detector frame to a network's input, as one torch module that runs where the frames are."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from photon_triage.core.common.errors import RecipeError, SourceError
from photon_triage.core.frames import Batch, Box, signed_type
from photon_triage.core.recipe import PrepareTable, Recipe, Roi
from photon_triage.models.common.input_files import open_regular

LETTERBOX_GREY = 0.5


class Preparation(nn.Module):
    """Mask and dark, ROI, scale, colour and fit, in this order.

    size: (height, width) of the network's input. channels: 1, or 3 for "jet" colour and for grey in three equal layers.
    bad: (height, width) of the whole frame, nonzero where a pixel is bad. dark: the same shape, subtracted.
    """

    bad: Tensor | None
    dark: Tensor | None

    def __init__(
        self,
        table: PrepareTable,
        size: tuple[int, int],
        channels: int = 1,
        *,
        bad: NDArray[Any] | None = None,
        dark: NDArray[Any] | None = None,
    ) -> None:
        super().__init__()
        if table.colour == "jet" and channels != 3:
            raise RecipeError(
                f'Could not prepare frames in "jet" colour for a network with {channels} input channel(s).',
                'Set colour = "grey" in [prepare], or choose a network with three input channels.',
            )
        self.table, self.size, self.channels = table, size, channels
        self.register_buffer("bad", None if bad is None else torch.from_numpy(np.asarray(bad) != 0), persistent=False)
        self.register_buffer(
            "dark", None if dark is None else torch.from_numpy(np.asarray(dark, np.float32)), persistent=False
        )

    def forward(self, frames: Tensor, valid: Tensor | None = None) -> Tensor:
        """The network's input, (batch, channels, *size) float32 in [0, 1].

        frames: (batch, height, width), see `counts_of` for gaps. valid: (height, width) bool.
        """
        return self.fit(self.region(frames, valid))

    def batch(self, batch: Batch, device: torch.device, start: int, stop: int) -> Tensor:
        """The network's input for the frames start .. stop-1 of a batch; only their ROI goes to the device."""
        return self.fit(self.counts(batch, device, start, stop)[0])

    def counts(self, batch: Batch, device: torch.device, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Counts in the ROI of the frames start .. stop-1 of a batch, 0 where a pixel is bad or a gap; where none is.

        Each is (frames, rows, columns), float32 and bool.
        """
        rows, columns = self._window(batch.shape)
        part = batch.cut(rows, columns)[start:stop].to(device)
        return self._counts(part, batch.shape, batch.valid)

    def fit(self, counts: Tensor) -> Tensor:
        """The network's input from counts in the ROI, (batch, rows, columns) as `region` gives them."""
        image = self._fit(self.scaled(counts)[:, None])
        if self.table.colour == "jet":
            return jet(image)
        return image.expand(-1, self.channels, -1, -1)

    def region(self, frames: Tensor, valid: Tensor | None = None) -> Tensor:
        """Counts in the ROI, (batch, rows, columns) float32, 0 where a pixel is bad or a gap."""
        shape = (frames.shape[-2], frames.shape[-1])
        rows, columns = self._window(shape)
        return self._counts(frames[:, rows, columns], shape, valid)[0]

    def _counts(self, region: Tensor, shape: tuple[int, int], valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """Counts where pixels are good, 0 elsewhere, of the ROI of frames of a shape; which pixels are good."""
        rows, columns = self._window(shape)
        counts = counts_of(region, masked=valid is not None)
        usable = counts >= 0
        for mask, good in ((valid, True), (self.bad, False)):
            if mask is not None:
                _check_shape(mask, shape, "mask")
                usable = usable & (mask[rows, columns] == good)
        if self.dark is not None:
            _check_shape(self.dark, shape, "dark frame")
            counts = counts - self.dark[rows, columns]
            usable = usable & counts.isfinite()
        return torch.where(usable, counts, 0.0).clamp_min(0), usable

    def scaled(self, counts: Tensor) -> Tensor:
        """Counts (batch, rows, columns) to [0, 1]; the recipe's full scale, or each frame's maximum, becomes 1."""
        if self.table.full_scale is not None:
            top = torch.as_tensor(self.table.full_scale, dtype=counts.dtype, device=counts.device)
        else:
            top = counts.amax(dim=(-2, -1), keepdim=True).clamp_min(1.0)
        if self.table.scale == "log":
            return (torch.log1p(counts) / torch.log1p(top)).clamp_max(1)
        return (counts / top).clamp_max(1)

    def to_frame(self, box: tuple[float, float, float, float], shape: tuple[int, int]) -> Box:
        """A box (centre x, centre y, width, height as parts of the input's size) in pixels of a frame of that shape."""
        sx, sy, ox, oy = self._scale_and_offset(shape)
        cx, cy, w, h = box
        return Box((cx - w / 2) * sx + ox, (cy - h / 2) * sy + oy, w * sx, h * sy)

    def from_frame(self, box: Box, shape: tuple[int, int]) -> tuple[float, float, float, float]:
        """The inverse of `to_frame`."""
        sx, sy, ox, oy = self._scale_and_offset(shape)
        return (
            (box.x + box.width / 2 - ox) / sx,
            (box.y + box.height / 2 - oy) / sy,
            box.width / sx,
            box.height / sy,
        )

    def _window(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        roi = self.table.roi
        if roi is None:
            return slice(0, shape[0]), slice(0, shape[1])
        check_roi(roi, shape)
        return roi.rows, roi.columns

    def _scale_and_offset(self, shape: tuple[int, int]) -> tuple[float, float, float, float]:
        """Frame pixels that the whole input's width and height cover, and where its left and top edges lie."""
        rows, columns = self._window(shape)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if self.table.fit == "stretch":
            return width, height, columns.start, rows.start
        scale = min(self.size[0] / height, self.size[1] / width)
        covered_x, covered_y = self.size[1] / scale, self.size[0] / scale
        return covered_x, covered_y, columns.start - (covered_x - width) / 2, rows.start - (covered_y - height) / 2

    def _fit(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.table.fit == "stretch":
            return _resize(image, self.size)
        scale = min(self.size[0] / height, self.size[1] / width)
        inner = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2
        margins = (left, self.size[1] - inner[1] - left, top, self.size[0] - inner[0] - top)
        return nn.functional.pad(_resize(image, inner), margins, value=LETTERBOX_GREY)


def counts_of(frames: Tensor, *, masked: bool = False) -> Tensor:
    """Frames of any numeric dtype as counts, float32 of the same shape, negative in gaps and where they are not finite.

    masked: whether the file has a mask, which decides what the largest value of 16 bits is (see `marks_gaps`).
    """
    counts = frames.float()
    if frames.is_floating_point():
        return torch.where(counts.isfinite(), counts, -1.0)
    signed = signed_type(frames.dtype)
    if signed is None or (masked and frames.dtype == torch.uint16):
        return counts
    if counts.numel() and counts.amax() >= torch.iinfo(frames.dtype).max:
        counts.masked_fill_(frames.view(signed) == -1, -1.0)
    return counts


def jet(image: Tensor) -> Tensor:
    """The "jet" colours of grey values: (batch, 1, h, w) in [0, 1] to (batch, 3, h, w), red, green, blue.

    The piecewise linear form of Matlab's colour map: each channel is 1.5 - |4v - c|, clipped, with c = 3, 2, 1.
    """
    return torch.cat([(1.5 - (4 * image - c).abs()).clamp(0, 1) for c in (3.0, 2.0, 1.0)], dim=1)


def grow(region: Tensor, margin: int) -> Tensor:
    """A region (batch, rows, columns) bool, grown by `margin` pixels along rows and columns."""
    if not margin:
        return region
    # By torch, not SciPy: segmentation leaves the region on the device, and the search needs it there.
    wide = nn.functional.max_pool2d(region[:, None].float(), (2 * margin + 1, 1), 1, (margin, 0))
    return nn.functional.max_pool2d(wide, (1, 2 * margin + 1), 1, (0, margin))[:, 0] > 0


def check_roi(roi: Roi, shape: tuple[int, int]) -> None:
    """Raise RecipeError when a ROI does not lie inside a frame of this shape."""
    if roi.top + roi.height > shape[0] or roi.left + roi.width > shape[1]:
        raise RecipeError(
            f"Could not cut the region of interest rows {roi.top}..{roi.top + roi.height}, columns "
            f"{roi.left}..{roi.left + roi.width} out of frames of {shape[0]} x {shape[1]} pixels.",
            "Set a region that lies inside the frame, or none, in the recipe.",
        )


def preparation_for(recipe: Recipe, size: tuple[int, int], channels: int) -> Preparation:
    """The preparation of a recipe for a network whose input is (height, width) with that many channels."""
    table = recipe.prepare
    bad = None if table.mask is None else load_image(table.mask)
    dark = None if table.dark is None else load_image(table.dark)
    return Preparation(table, size, channels, bad=bad, dark=dark)


def load_image(path: str) -> NDArray[Any]:
    """A mask or dark frame from a .npy file or from anything that holds frames (its first frame).

    Raises SourceError.
    """
    from photon_triage.core.sources import inspect, read_frames

    try:
        if Path(path).suffix == ".npy":
            os.close(open_regular(path))
            # Mapped: what its header says is held against the file's size before memory is taken.
            return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
        info = inspect(path, any_image=True)
        return np.asarray(read_frames(info.path, info.dataset, 0, 1)[0])
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise SourceError(f"Could not read the image {path}: {error}.", "Give a .npy, HDF5 or TIFF file.") from error


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == size:
        return image
    smaller = math.prod(size) < math.prod(image.shape[-2:])
    return nn.functional.interpolate(image, size, mode="bilinear", align_corners=False, antialias=smaller)


def _check_shape(mask: Tensor, shape: tuple[int, int], what: str) -> None:
    if tuple(mask.shape) != shape:
        raise RecipeError(
            f"Could not use a {what} of {mask.shape[0]} x {mask.shape[1]} pixels on frames of {shape[0]} x {shape[1]}.",
            "Give one of the detector's shape.",
        )
