from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from photon_triage.models import create
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files.summary import summarise
from photon_triage.models.inference import autotune as speed
from photon_triage.models.inference import precision, runtime
from photon_triage.models.inference.precision import DecisionAgreement, compare_outputs
from photon_triage.models.inference.runtime import prepare_for_inference

from ..builders import (
    BFLOAT16_ROUNDING,
    SIZES,
    SMALL,
    TF32_ROUNDING,
    TINY,
    needs_bfloat16,
    relative_error,
    rounding_error,
    with_other_weights,
    with_random_weights,
)

CPU = torch.device("cpu")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


class Shifted(nn.Module):
    """Gives back its input, in bfloat16 plus `shift`."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.shift = shift
        self.sizes: list[int] = []

    def __deepcopy__(self, _: object) -> Shifted:
        twin = Shifted(self.shift)
        twin.sizes = self.sizes
        return twin

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return x + self.shift if x.dtype == torch.bfloat16 else x


def above_a_half(outputs: list[Tensor]) -> Tensor:
    return outputs[0].flatten(1).mean(1) >= 0.5


@pytest.fixture
def fast_bfloat16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which bfloat16 is twice as fast."""
    monkeypatch.delenv(precision.VARIABLE, raising=False)
    monkeypatch.setattr(speed, "cache_path", lambda: tmp_path / "speed.json")
    monkeypatch.setattr(speed, "seconds", lambda call, _: 1.0 if call.dtype == torch.bfloat16 else 2.0)
    run_in(monkeypatch, bfloat16=1.0, float32=2.0)


def run_in(monkeypatch: pytest.MonkeyPatch, *, bfloat16: float, float32: float) -> None:
    """Have batches take so many seconds as the runner sees it."""

    def timed(call: Any, batch: Tensor, _: torch.device) -> tuple[Any, float]:
        return call(batch), bfloat16 if getattr(call, "dtype", None) == torch.bfloat16 else float32

    monkeypatch.setattr(speed, "timed", timed)


def half_of_them_hits(count: int) -> Tensor:
    return torch.linspace(0, 1, count)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()


def test_prepared_network_gives_the_same_heads_and_stays_as_it_is() -> None:
    model = with_random_weights(Darknet.from_cfg(SMALL)).train()
    run = prepare_for_inference(model, CPU)
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    found = run(image)
    assert model.training and not found[0].requires_grad
    with torch.no_grad():
        torch.testing.assert_close(found, model.eval()(image.float()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), pytest.param("bfloat16", 0.05, marks=needs_bfloat16)]
)
def test_every_network_can_be_prepared(family: str, dtype: precision.Precision, tolerance: float) -> None:
    model = with_other_weights(create(family, **TINY[family]))
    run = prepare_for_inference(model, CPU, dtype=dtype)
    frames = torch.rand(2, *summarise(model, SIZES[family]).input)
    with torch.no_grad():
        expected = model(frames)
    expected = expected if isinstance(expected, Tensor) else expected[0]
    assert run.plan.dtype == getattr(torch, dtype)
    for _ in range(2):
        assert float((run(frames)[0] - expected).abs().max() / expected.abs().max()) < tolerance


def test_single_output_becomes_a_list() -> None:
    run = prepare_for_inference(nn.Flatten(), CPU)
    assert [tuple(output.shape) for output in run(torch.zeros(2, 3, 4, 4))] == [(2, 48)]


def test_plan_tells_how_it_runs() -> None:
    run = prepare_for_inference(nn.Flatten(), CPU, batch_size=4)
    run(torch.zeros(1, 1, 2, 2))
    assert str(run.plan) == "float32 on cpu, channels last, 4 frames at a time"


def test_model_may_ask_for_contiguous_memory() -> None:
    class Planes(nn.Module):
        channels_last = False

        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor([x.is_contiguous()])

    assert prepare_for_inference(Planes(), CPU)(torch.zeros(2, 3, 4, 4))[0].item() == 1


def test_large_batches_are_cut() -> None:
    model = Shifted()
    frames = torch.rand(7, 1, 2, 2)
    (found,) = prepare_for_inference(model, CPU, batch_size=3)(frames)
    assert model.sizes == [3, 3, 1]
    torch.testing.assert_close(found, frames)


def test_batch_size_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "cache_path", lambda: tmp_path / "speed.json")
    monkeypatch.setattr(speed, "seconds", lambda _, batch, repeats: 0.001 * (2 + len(batch)))
    run = prepare_for_inference(Shifted(), CPU, batch_size="auto")
    run(torch.zeros(3, 1, 2, 2))
    assert run.plan.batch_size == 16  # 1 + 2/16 ms a frame, within a tenth of 1 + 2/64 ms


def test_batch_that_does_not_fit_is_halved() -> None:
    class Hungry(Shifted):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return x

        def __deepcopy__(self, _: object) -> Hungry:
            return Hungry()

    run = prepare_for_inference(Hungry(), CPU, batch_size=8)
    frames = torch.rand(5, 1, 2, 2)
    torch.testing.assert_close(run(frames)[0], frames)
    assert run.plan.batch_size == 2


def test_no_frames_at_a_time_are_refused() -> None:
    with pytest.raises(ModelError, match="Cannot run 0 frames at a time"):
        prepare_for_inference(nn.Flatten(), CPU, batch_size=0)


def test_unknown_precision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="Cannot compute in 'float8'"):
        prepare_for_inference(nn.Flatten(), CPU, dtype="float8")  # type: ignore[arg-type]
    monkeypatch.setenv(precision.VARIABLE, "half")
    with pytest.raises(ModelError, match="'half' of PHOTON_TRIAGE_PRECISION"):
        prepare_for_inference(nn.Flatten(), CPU)


@needs_bfloat16
def test_environment_stands_in_for_auto_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.VARIABLE, "bfloat16")
    assert prepare_for_inference(nn.Flatten(), CPU).plan.dtype == torch.bfloat16
    assert prepare_for_inference(nn.Flatten(), CPU, dtype="float32").plan.dtype == torch.float32


@needs_bfloat16
def test_bfloat16_gives_float32_out_and_nearly_the_same_heads() -> None:
    model = with_random_weights(Darknet.from_cfg(SMALL))
    frames = torch.rand(2, 3, 32, 32)
    (half,) = prepare_for_inference(model, CPU, dtype="bfloat16")(frames)
    (full,) = model(frames)
    assert half.dtype == torch.float32
    assert 1e-4 < relative_error(half, full) < rounding_error(len(model.convolutions()))


def test_auto_measures_and_compares_decisions_before_bfloat16(fast_bfloat16: None) -> None:
    run = prepare_for_inference(Shifted(0.0), CPU, decide=above_a_half)
    run(half_of_them_hits(300))
    assert run.plan.dtype == torch.float32 and run.agreement == DecisionAgreement(300, 150, 0)
    run(half_of_them_hits(100))
    assert run.plan.dtype == torch.bfloat16


def test_results_are_float32_while_decisions_are_compared(fast_bfloat16: None) -> None:
    frames = half_of_them_hits(1000) + 0.0001
    run = prepare_for_inference(Shifted(0.0), CPU, decide=above_a_half)
    torch.testing.assert_close(run(frames)[0], frames, rtol=0, atol=0)


def test_float32_is_kept_where_decisions_differ(fast_bfloat16: None) -> None:
    run = prepare_for_inference(Shifted(0.1), CPU, decide=above_a_half)
    run(half_of_them_hits(500))
    assert run.agreement.differing > 40 and run.plan.dtype == torch.float32
    run(half_of_them_hits(500))
    assert run.agreement.frames == 500  # it is settled


def test_frames_without_decisions_count_too(fast_bfloat16: None) -> None:
    run = prepare_for_inference(Shifted(0.1), CPU, decide=above_a_half)
    for _ in range(4):
        run(torch.zeros(256, 1, 4, 4))
    assert run.plan.dtype == torch.bfloat16


def test_without_decisions_to_compare_it_is_float32(fast_bfloat16: None) -> None:
    run = prepare_for_inference(Shifted(0.0), CPU)
    run(half_of_them_hits(2000))
    assert run.plan.dtype == torch.float32


def test_slower_bfloat16_is_not_tried(fast_bfloat16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "seconds", lambda call, _: 1.9 if call.dtype == torch.bfloat16 else 2.0)
    run = prepare_for_inference(Shifted(0.0), CPU, decide=above_a_half)
    run(half_of_them_hits(2000))
    assert run.plan.dtype == torch.float32 and run.agreement.frames == 0


def test_bfloat16_that_was_measured_wrongly_is_dropped(fast_bfloat16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in(monkeypatch, bfloat16=3.0, float32=2.0)
    run = prepare_for_inference(Shifted(0.0), CPU, decide=above_a_half)
    for _ in range(20):
        run(half_of_them_hits(16))
    frames = run.agreement.frames
    assert frames == 16 * (1 + runtime.TIMED_BATCHES)
    run(half_of_them_hits(1000))
    assert run.plan.dtype == torch.float32 and run.agreement.frames == frames


def test_network_that_cannot_run_in_bfloat16_runs_in_float32(
    fast_bfloat16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seconds(call: runtime.Network, _: Tensor) -> float:
        if call.dtype == torch.bfloat16:
            raise RuntimeError("not implemented for 'BFloat16'")
        return 1.0

    monkeypatch.setattr(speed, "seconds", seconds)
    run = prepare_for_inference(Shifted(0.0), CPU, decide=above_a_half)
    run(half_of_them_hits(2000))
    assert run.plan.dtype == torch.float32


def test_agreement_counts_decisions_for_something() -> None:
    ours, theirs = torch.tensor([[0, 1, 2], [0, 0, 3]]), torch.tensor([[0, 1, 1], [4, 0, 3]])
    found = compare_outputs([ours], [theirs], lambda outputs: outputs[0])
    assert found == DecisionAgreement(frames=2, made=4, differing=2) and found.share == 0.5
    assert DecisionAgreement().share == 1.0


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros((), dtype=torch.bool)])
def test_scores_are_no_decisions(values: Tensor) -> None:
    with pytest.raises(ModelError, match="Cannot compare decisions"):
        compare_outputs([values], [values], lambda outputs: outputs[0])


ROUNDING: dict[precision.Precision, float] = {"float32": TF32_ROUNDING, "bfloat16": BFLOAT16_ROUNDING}


@needs_cuda
@pytest.mark.parametrize("dtype", ROUNDING)
def test_recorded_graphs_give_what_the_network_gives(dtype: precision.Precision) -> None:
    model, device = with_random_weights(Darknet.from_cfg(SMALL)), torch.device("cuda")
    plain = prepare_for_inference(model, device, dtype=dtype)
    graphed = prepare_for_inference(model, device, dtype=dtype, batch_size=4)
    for count in (4, 3, 9):
        frames = torch.rand(count, 3, 32, 32)
        tolerance = rounding_error(len(model.convolutions()), ROUNDING[dtype])
        assert all(relative_error(a, b) < tolerance for a, b in zip(graphed(frames), plain(frames), strict=True))
    assert graphed.plan.graphs and not plain.plan.graphs


@needs_cuda
def test_outputs_outlive_the_next_replay() -> None:
    run = prepare_for_inference(nn.Flatten(), torch.device("cuda"), dtype="float32", batch_size=2)
    first, _ = run(torch.ones(2, 1, 2, 2)), run(torch.zeros(2, 1, 2, 2))
    assert first[0].min().item() == 1


@needs_cuda
def test_network_that_cannot_be_recorded_runs_as_it_is() -> None:
    class Asking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 if x.sum().item() > 0 else x

    run = prepare_for_inference(Asking(), torch.device("cuda"), dtype="float32", batch_size=2)
    torch.testing.assert_close(run(torch.ones(2, 1, 2, 2))[0].cpu(), torch.full((2, 1, 2, 2), 2.0))
