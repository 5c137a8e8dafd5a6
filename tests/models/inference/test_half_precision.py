from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
import torch
from torch import Tensor, nn

from photon_triage.models.common.errors import ModelError, note_once
from photon_triage.models.inference import autotune as speed
from photon_triage.models.inference import precision
from photon_triage.models.inference.precision import failure_of, precision_notice
from photon_triage.models.inference.runtime import prepare_for_inference

from ..builders import needs_bfloat16

CPU = torch.device("cpu")
AVX2_ONLY = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""Environment in which oneDNN and torch use no instructions beyond AVX2: bfloat16 is refused as on older processors."""


class Single(nn.Module):
    """Gives back its input, and refuses bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            raise NotImplementedError("not implemented for 'BFloat16'\nand more")
        return x


@pytest.fixture(autouse=True)
def _warn_again() -> Iterator[None]:
    note_once.cache_clear()
    yield
    note_once.cache_clear()


def python(code: str, **environment: str) -> str:
    """What a program prints in a process whose processor offers AVX2 only; skipped where that limit has no effect."""
    module = "photon_triage.models.inference.precision"
    ask = f"from {module} import *; assert bfloat16_refusal(torch.device('cpu')), 'no effect'"
    command = [sys.executable, "-P", "-c", f"import torch\n{ask}\n{dedent(code)}"]
    done = subprocess.run(command, env=os.environ | AVX2_ONLY | environment, capture_output=True, text=True)
    if "no effect" in done.stderr:
        pytest.skip("oneDNN cannot be limited to AVX2 here")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_forced_bfloat16_becomes_float32_where_the_processor_lacks_it() -> None:
    told = python(
        """
        from photon_triage.models.darknet.darknet import Darknet
        from photon_triage.models.inference.runtime import prepare_for_inference
        net = "[net]\\nwidth=32\\nheight=32\\nchannels=3\\n"
        layer = "[convolutional]\\nfilters=6\\nsize=3\\npad=1\\nactivation="
        cfg = f"{net}{layer}leaky\\n{layer}linear\\n[region]\\nanchors=1,1\\nclasses=1\\nnum=1\\n"
        model, frames = Darknet.from_cfg(cfg).eval(), torch.rand(2, 3, 32, 32)
        asked, plain = (prepare_for_inference(model, torch.device("cpu"), dtype=d) for d in ("auto", "float32"))
        assert asked.plan.dtype == torch.float32
        torch.testing.assert_close(asked(frames), plain(frames), rtol=0, atol=0)
        prepare_for_inference(model, torch.device("cpu"))
        """,
        PHOTON_TRIAGE_PRECISION="bfloat16",
    )
    assert told.count("float32 is used on cpu in place of bfloat16") == 1


def test_notice_names_the_variable_and_the_reason() -> None:
    told = python("print(precision_notice(torch.device('cpu')))", PHOTON_TRIAGE_PRECISION="bfloat16")
    assert "PHOTON_TRIAGE_PRECISION=bfloat16 has no effect" in told and "mkldnn" in told


def test_no_notice_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    assert precision_notice(CPU) == ""


def test_notice_refuses_another_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, "half")
    with pytest.raises(ModelError, match="PHOTON_TRIAGE_PRECISION"):
        precision_notice(CPU)


@needs_bfloat16
def test_layer_without_bfloat16_runs_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    frames = torch.rand(3, 1, 4, 4)
    run = prepare_for_inference(Single(), CPU, dtype="bfloat16", batch_size=2)
    torch.testing.assert_close(run(frames)[0], frames, rtol=0, atol=0)
    assert run.plan.dtype == torch.float32
    assert [record.message for record in caplog.records] == [
        "float32 is used on cpu in place of bfloat16: not implemented for 'BFloat16'"
    ]


def test_figures_measured_elsewhere_do_not_make_a_network_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    monkeypatch.setattr(speed, "measured_once", lambda *_: {"float32": 2.0, "bfloat16": 1.0})
    run = prepare_for_inference(Single(), CPU, decide=lambda outputs: outputs[0].flatten(1).mean(1) > 0.5)
    frames = torch.rand(4, 1, 4, 4)
    torch.testing.assert_close(run(frames)[0], frames, rtol=0, atol=0)
    assert run.plan.dtype == torch.float32


def test_exhausted_memory_says_nothing_of_the_precision() -> None:
    def exhaust() -> None:
        raise torch.OutOfMemoryError("out of memory")

    assert failure_of(exhaust) == ""


def test_benchmark_skips_what_the_processor_cannot_compute() -> None:
    folder = Path(__file__).parents[3] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not part of this distribution")
    told = python(
        f"""
        import sys
        sys.path.insert(0, {str(folder)!r})
        import measure, models
        try:
            models.ours(models.lenet, models.frame(1, 50), "bfloat16")(None)
        except measure.SkippedCase as reason:
            print("skipped:", reason)
        """
    )
    assert told.startswith("skipped: ")
