from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from photon_triage.models.msd.gpu import look_ahead
from photon_triage.models.msd.layout import MsdLayout

from ..builders import TF32_ROUNDING, rounding_error
from .msd_reference import plain, random_model, relative_difference

LAYOUTS = (
    MsdLayout(1, 1, tuple(range(1, 11)) * 10),
    MsdLayout(3, 2, (4, 1, 4, 4, 2, 1, 4)),
    MsdLayout(2, 20, (1, 2, 1)),
    MsdLayout(1, 1, (1,) * 40),
)

WITHOUT_DEVICE = """
import sys
sys.path[:0] = sys.argv[1:]
import torch
from msd_reference import plain, random_model, relative_difference
from photon_triage.models.msd import triton_kernel
from photon_triage.models.msd.canvas import Canvas
from photon_triage.models.msd.features import project

def difference(model, frames, dtype):
    expected = plain(model, frames)
    model = model.to(dtype)
    layout = model.layout
    canvas = Canvas.empty(layout.channels, len(frames), tuple(frames.shape[-2:]), 0, model.weights)
    canvas.interior(0, layout.in_channels).copy_(frames.transpose(0, 1))
    triton_kernel.compute_features(canvas, layout, model.weights, model.biases)
    return relative_difference(project(canvas, model.final_weight, model.final_bias).float(), expected)

with torch.no_grad():
    torch.manual_seed(0)
    slabs = random_model(depth=6, in_channels=2, width=2, dilations=[1, 4])
    print(difference(slabs, torch.randn(2, 2, 5, 34), torch.float32))
    wide = random_model(depth=2, width=18, dilations=[1])
    print(difference(wide, torch.randn(1, 1, 9, 6), torch.float32))
    short = random_model(depth=4, dilations=[1, 2])
    print(difference(short, torch.randn(1, 1, 5, 6), torch.float16))
"""


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"depth {layout.depth}")
def test_steps_send_each_channel_once_to_each_layer_and_only_when_it_is_complete(layout: MsdLayout) -> None:
    received: list[list[int]] = [[] for _ in range(layout.depth)]
    for turn, step in enumerate(look_ahead(layout)):
        assert step.layers[0] == turn
        assert step.last <= layout.inputs(turn)
        for layer in step.layers:
            assert layout.dilations[layer] == step.dilation
            assert step.begins == (not received[layer])
            received[layer] += range(step.first, step.last)
        assert received[turn] == list(range(layout.inputs(turn)))


def test_looking_ahead_reads_a_fifth_of_what_layers_alone_read() -> None:
    steps = look_ahead(LAYOUTS[0])
    assert sum(step.last - step.first for step in steps) == 955
    assert sum(len(step.layers) * (1 if step.begins else 2) for step in steps) == 1000


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_kernel_equals_the_plain_form_in_tritons_interpreter() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WITHOUT_DEVICE, str(Path(__file__).parent)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if "only 0-dimensional arrays can be converted" in done.stderr:
        pytest.skip("the interpreter of triton before 3.5 does not work with NumPy from 2.4 on")
    assert done.returncode == 0, done.stderr
    slabs, wide, short = map(float, done.stdout.split())
    assert slabs < 1e-5
    assert wide < 1e-5
    assert short < rounding_error(4, TF32_ROUNDING), "float16 has the 11 significant bits of TF32"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, rounding_error(4))], ids=str)
@pytest.mark.parametrize("size", [(1, 200, 301), (2, 64, 64)], ids=str)
def test_a_gpu_gives_what_the_plain_form_gives(
    dtype: torch.dtype, tolerance: float, size: tuple[int, int, int]
) -> None:
    model = random_model(depth=100)
    batch, height, width = size
    frames = torch.randn(batch, 1, height, width)
    with torch.no_grad():
        expected = plain(model, frames)
        found = model.to("cuda", dtype)(frames.cuda())
    assert relative_difference(found.float().cpu(), expected) < tolerance


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gradients_on_a_gpu_equal_those_of_the_cpu() -> None:
    model = random_model(depth=30).double()
    frames = torch.randn(1, 1, 40, 50, dtype=torch.float64)
    expected = torch.autograd.grad(model(frames).square().sum(), list(model.parameters()))
    on_gpu = model.to("cuda")
    found = torch.autograd.grad(on_gpu(frames.cuda()).square().sum(), list(on_gpu.parameters()))
    assert max(relative_difference(a.cpu(), b) for a, b in zip(found, expected, strict=True)) < 1e-10
