"""Training an MS-D network: an autograd function that keeps the feature maps and nothing else."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from photon_triage.models.msd.canvas import Band, Canvas
from photon_triage.models.msd.features import compute_features, plane_values, project
from photon_triage.models.msd.layout import Block, BlockWeights, MsdLayout
from photon_triage.models.msd.workers import Meet, cores, for_each_band


class MSDFunction(torch.autograd.Function):
    """The network as one differentiable function of its input and its parameters.

    It saves the feature maps (channels, batch, height + 2 · padding, width + 2 · padding) and the parameters. The
    gradient is made block by block, last to first, as the features are: what a block's layers send back to all earlier
    channels, and the gradient of their weights, are one matrix product each. Second derivatives are not available.
    """

    @staticmethod
    def forward(
        ctx: Any,
        frames: Tensor,
        weights: Tensor,
        biases: Tensor,
        final_weight: Tensor,
        final_bias: Tensor,
        layout: MsdLayout,
        packing: Tensor,
    ) -> Tensor:
        """(batch, outputs, height, width) of frames (batch, channels, height, width)."""
        canvas = new_canvas(frames, layout)
        compute_features(canvas, layout, layout.matrices(weights[packing]), biases)
        ctx.save_for_backward(canvas.maps, weights, final_weight)
        ctx.layout, ctx.packing = layout, packing
        return project(canvas, final_weight, final_bias).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of frames, weights, biases, final weight and final bias."""
        maps, weights, final_weight = ctx.saved_tensors
        layout: MsdLayout = ctx.layout
        canvas = Canvas(maps, layout.padding)
        outputs = Canvas(maps.new_zeros((len(final_weight), *maps.shape[1:])), layout.padding)
        outputs.interior(0, len(final_weight)).copy_(gradient.transpose(0, 1))
        errors = Canvas(torch.mm(final_weight.t(), outputs.flat).view(maps.shape), layout.padding)
        matrices = layout.matrices(weights[ctx.packing])
        packed, biases = _go_back(canvas, errors, layout, matrices, ctx.needs_input_grad[0])
        in_order = torch.empty_like(packed)
        in_order[ctx.packing] = packed
        frames = errors.interior(0, layout.in_channels).transpose(0, 1) if ctx.needs_input_grad[0] else None
        final = torch.mm(outputs.flat, canvas.flat.t())
        return frames, in_order, biases, final, gradient.sum((0, 2, 3)), None, None


def new_canvas(frames: Tensor, layout: MsdLayout) -> Canvas:
    """A canvas for all feature maps of frames (batch, channels, height, width), which it holds; borders not filled."""
    batch, _, height, width = frames.shape
    canvas = Canvas.empty(layout.channels, batch, (height, width), layout.padding, frames)
    canvas.interior(0, layout.in_channels).copy_(frames.transpose(0, 1))
    return canvas


def _go_back(
    canvas: Canvas, errors: Canvas, layout: MsdLayout, matrices: tuple[BlockWeights, ...], wants_input: bool
) -> tuple[Tensor, Tensor]:
    """Take the errors of all channels back to the input's, and return the gradients of packed weights and biases.

    errors: the loss's gradient with respect to every channel by way of the final 1x1, zero in the borders; what later
    layers send is added.
    """
    most = max(block.channels for block in layout.blocks)
    signals = canvas.maps.new_zeros(2, most, canvas.margin + canvas.pixels + canvas.margin)
    bands = cores(canvas.maps.device)
    packed = canvas.maps.new_zeros(bands, layout.weight_count)
    biases = canvas.maps.new_zeros(bands, layout.depth * layout.width)

    def go_back_in_band(number: int, band: Band, meet: Meet) -> None:
        blocks = list(zip(layout.blocks, matrices, layout.matrices(packed[number]), strict=True))
        for turn, (block, weights, slope) in enumerate(reversed(blocks)):
            # Others may still read the signals of the block before.
            own = signals[turn % 2, : block.channels]
            middle = own[:, canvas.margin : canvas.margin + canvas.pixels]
            inside = Canvas(middle.view(-1, *canvas.maps.shape[1:]), canvas.padding)
            for layer in reversed(range(len(block.dilations))):
                channels = slice(layer * block.width, (layer + 1) * block.width)
                first, last = block.start + channels.start, block.start + channels.stop
                errors.fold(first, last, band)
                is_active = canvas.interior(first, last, band) > 0
                signal = inside.interior(channels.start, channels.stop, band)
                torch.mul(errors.interior(first, last, band), is_active, out=signal)
                place = first - layout.in_channels
                biases[number, place : place + block.width] = signal.sum((1, 2, 3))
                meet()
                if layer:
                    within = slice(block.start, first)
                    alone = block.alone(layer)
                    _send(own[channels], alone, canvas, errors, within, band, weights.inner[layer], slope.inner[layer])
            is_read = wants_input or block.start > layout.in_channels
            earlier = slice(0, block.start)
            _send(own, block, canvas, errors if is_read else None, earlier, band, weights.outer, slope.outer)
        if wants_input:
            errors.fold(0, layout.in_channels, band)

    for_each_band(canvas, go_back_in_band)
    return packed.sum(0), biases.sum(0)


def _send(
    signals: Tensor,
    block: Block,
    canvas: Canvas,
    errors: Canvas | None,
    sources: slice,
    band: Band,
    weights: Tensor,
    slope: Tensor,
) -> None:
    """Add what a block's layers send back to the errors of the channels `sources`, and to the slope of their weights.

    signals: (channels of the block, pixels and a margin on both sides), zero in margins and borders. Only the errors
    within the band are touched, and the slope that its pixels give is added.
    """
    width, reach = block.width, signals.stride(0)
    step = max(1, plane_values(signals.device) // len(weights))
    for first in range(band.start, band.stop, step):
        count = min(step, band.stop - first)
        planes = signals.new_empty(3, len(block.dilations), width, 3, count)
        for run, column, row in product(block.runs, range(3), range(3)):
            side = (row - 1) * canvas.pitch + column - 1
            start = run.first * width * reach + canvas.margin + first - side * run.dilation
            shifted = signals.as_strided(
                (run.count, width, count),
                (width * reach - side * run.step, reach, 1),
                signals.storage_offset() + start,
            )
            planes[column, run.first : run.first + run.count, :, row].copy_(shifted)
        matrix = planes.view(-1, count)
        here = slice(first, first + count)
        if errors is not None:
            errors.flat[sources, here].addmm_(weights.t(), matrix)
        slope.addmm_(matrix, canvas.flat[sources, here].t())
