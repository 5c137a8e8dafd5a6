from __future__ import annotations

import pytest
import torch

from photon_triage.core.doctor import machine
from photon_triage.core.doctor.machine import NEEDED, check_filters
from photon_triage.models.inference import precision as half_precision
from photon_triage.models.inference.precision import VARIABLE


def test_a_device_that_is_not_there_is_a_problem_that_names_the_others() -> None:
    check = machine.check_device("cuda:99")
    assert check.state == "problem" and "cpu" in check.advice


def test_the_cpu_is_fit() -> None:
    check = machine.check_device("cpu")
    assert check.state == "ok" and torch.__version__ in check.finding


@pytest.mark.parametrize(
    ("bfloat16", "taken"), [(0.5, "bfloat16 is taken"), (0.97, "float32 is taken"), (2.0, "float32 is taken")]
)
def test_the_precision_that_was_measured_to_be_faster_is_named(
    monkeypatch: pytest.MonkeyPatch, bfloat16: float, taken: str
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(machine, "measured_precisions", lambda *_: {"float32": 1.0, "bfloat16": bfloat16})
    assert taken in machine.check_precision("cpu").finding


def test_a_forced_precision_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "float32")
    monkeypatch.setattr(machine, "measured_precisions", lambda *_: {"float32": 1.0})
    check = machine.check_precision("cpu")
    assert check.state == "note" and VARIABLE in check.advice


def test_forced_bfloat16_that_the_device_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "bfloat16")
    monkeypatch.setattr(machine, "measured_precisions", lambda *_: {"float32": 1.0})
    monkeypatch.setattr(half_precision, "bfloat16_refusal", lambda _: "needs avx512bw")
    check = machine.check_precision("cpu")
    assert check.state == "note" and "has no effect" in check.finding and "needs avx512bw" in check.finding


def test_a_precision_that_does_not_exist_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "half")
    monkeypatch.setattr(machine, "measured_precisions", lambda *_: {"float32": 1.0})
    check = machine.check_precision("cpu")
    assert check.state == "problem" and "'half'" in check.finding and "bfloat16" in check.advice


@pytest.mark.parametrize(("allowed", "threads", "state"), [(4, 4, "ok"), (2, 16, "problem"), (8, 1, "note")])
def test_threads_should_be_as_many_as_cores(
    monkeypatch: pytest.MonkeyPatch, allowed: int, threads: int, state: str
) -> None:
    monkeypatch.setattr(machine, "_allowed_cores", lambda: allowed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(machine, "processor", lambda: ("A processor", "fpu avx2"))
    check = machine.check_cpu()
    assert check.state == state
    assert "A processor" in check.finding and "avx2" in check.finding


def test_the_filters_of_detector_files_are_here() -> None:
    check = check_filters()
    assert check.state == "ok"
    assert all(name in check.finding for name in ("bitshuffle", "LZ4", "Zstandard", "Blosc", "gzip"))


@pytest.mark.parametrize("number", NEEDED)
def test_a_missing_filter_of_detector_files_is_a_problem(number: int) -> None:
    check = check_filters(lambda one: one != number)
    assert check.state == "problem" and "cannot be decoded" in check.finding


def test_filters_that_nobody_needs_are_named_and_no_problem() -> None:
    check = check_filters(lambda number: number in NEEDED)
    assert check.state == "ok" and "SZ3" in check.advice
