"""Training an MS-D network: an autograd function that keeps the feature maps and nothing else."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from photon_triage.models.msd.canvas import Canvas
from photon_triage.models.msd.features import compute_features, plane_values, project
from photon_triage.models.msd.layout import Block, BlockWeights, Layout


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
        layout: Layout,
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
        layout: Layout = ctx.layout
        canvas = Canvas(maps, layout.padding)
        outputs = Canvas(maps.new_zeros((len(final_weight), *maps.shape[1:])), layout.padding)
        outputs.interior(0, len(final_weight)).copy_(gradient.transpose(0, 1))
        errors = Canvas(torch.mm(final_weight.t(), outputs.flat).view(maps.shape), layout.padding)
        packed, biases = torch.zeros_like(weights), weights.new_empty(layout.depth * layout.width)
        matrices = zip(layout.blocks, layout.matrices(weights[ctx.packing]), layout.matrices(packed), strict=True)
        for block, own, slope in reversed(list(matrices)):
            first = block.start - layout.in_channels
            wants_earlier = ctx.needs_input_grad[0] or first > 0
            biases[first : first + block.channels] = _go_back(canvas, errors, block, own, slope, wants_earlier)
        frames = None
        if ctx.needs_input_grad[0]:
            errors.fold(0, layout.in_channels)
            frames = errors.interior(0, layout.in_channels).transpose(0, 1).contiguous()
        in_order = torch.empty_like(packed)
        in_order[ctx.packing] = packed
        return (
            frames,
            in_order,
            biases,
            torch.mm(outputs.flat, canvas.flat.t()),
            gradient.sum((0, 2, 3)),
            None,
            None,
        )


def new_canvas(frames: Tensor, layout: Layout) -> Canvas:
    """A canvas for all feature maps of frames (batch, channels, height, width), which it holds; borders not filled."""
    batch, _, height, width = frames.shape
    canvas = Canvas.empty(layout.channels, batch, (height, width), layout.padding, frames)
    canvas.interior(0, layout.in_channels).copy_(frames.transpose(0, 1))
    return canvas


def _go_back(
    canvas: Canvas, errors: Canvas, block: Block, weights: BlockWeights, slope: BlockWeights, wants_earlier: bool
) -> Tensor:
    """Take the errors of a block's channels back to all channels that its layers read.

    errors: the loss's gradient with respect to every channel, as far as later layers have sent it, borders not yet
    folded. `slope` receives the gradient of `weights`. Returns that of the biases, (channels of the block,).
    """
    guard = canvas.inner[0]
    signals = canvas.maps.new_zeros(block.channels, guard + canvas.pixels + guard)
    inside = signals[:, guard : guard + canvas.pixels].view(-1, *canvas.maps.shape[1:])
    inside = Canvas(inside, canvas.padding).interior(0, block.channels)
    for layer in reversed(range(len(block.dilations))):
        own = slice(layer * block.width, (layer + 1) * block.width)
        first, last = block.start + own.start, block.start + own.stop
        errors.fold(first, last)
        torch.mul(errors.interior(first, last), canvas.interior(first, last) > 0, out=inside[own])
        if layer:
            before = slice(block.start, first)
            alone = block.alone(layer)
            _send(signals[own], alone, canvas, before, weights.inner[layer], slope.inner[layer], errors)
    before = slice(0, block.start)
    _send(signals, block, canvas, before, weights.outer, slope.outer, errors if wants_earlier else None)
    return inside.sum((1, 2, 3))


def _send(
    signals: Tensor,
    block: Block,
    canvas: Canvas,
    sources: slice,
    weights: Tensor,
    slope: Tensor,
    errors: Canvas | None,
) -> None:
    """Add to the errors of the channels `sources` what a block's layers send back, and to the slope of their weights.

    signals: (channels of the block, pixels and a guard of zeros on both sides), zero in the borders.
    """
    guard, width = canvas.inner[0], block.width
    reach = signals.stride(0)
    inputs = canvas.flat[sources]
    step = max(1, plane_values(signals.device) // len(weights))
    for first in range(0, canvas.pixels, step):
        count = min(step, canvas.pixels - first)
        planes = signals.new_empty(3, len(block.dilations), width, 3, count)
        for run, column, row in product(block.runs, range(3), range(3)):
            side = (row - 1) * canvas.pitch + column - 1
            start = signals.storage_offset() + run.first * width * reach + guard + first - side * run.dilation
            shifted = signals.as_strided((run.count, width, count), (width * reach - side * run.step, reach, 1), start)
            planes[column, run.first : run.first + run.count, :, row].copy_(shifted)
        matrix = planes.view(-1, count)
        here = slice(first, first + count)
        if errors is not None:
            errors.flat[sources, here].addmm_(weights.t(), matrix)
        slope.addmm_(matrix, inputs[:, here].t())
