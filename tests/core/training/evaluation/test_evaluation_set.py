from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from photon_triage.core.training.evaluation.scoring import held_out_images, held_out_labels, held_out_masks
from photon_triage.tui.commands.training_report import say_report

SCORES = {"n": 40} | {
    key: value
    for name in ("precision", "recall", "f1")
    for key, value in ((name, 0.8), (f"{name}_interval", [0.7, 0.9]))
}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"labels": 40}, "40 ranked labels held out of training; not an estimate for the beamtime"),
        ({"imported": 9, "labels": 31}, "31 ranked and 9 imported labels held out of training"),
        ({"audit": 5}, "5 audit labels held out of training"),
        ({"simulated": 7}, "7 simulated labels held out of training"),
    ],
)
def test_held_out_labels_are_named_by_their_source(counts: dict[str, int], expected: str) -> None:
    assert held_out_labels(counts).startswith(expected)


def test_images_that_chose_the_checkpoint_are_named_so() -> None:
    assert held_out_images(3, chose=False) == "3 images held out of training"
    assert held_out_images(3, chose=True).endswith("which chose the checkpoint too")
    assert held_out_masks(3, chose=False).endswith("not an estimate for the beamtime")


def test_every_line_with_f1_names_the_evaluation_set(capsys: pytest.CaptureFixture[str]) -> None:
    report: dict[str, Any] = {
        "name": "new", "trained_on": 80, "accepted": 40, "seconds": 1.0, "simulated": False,
        "evaluated_on": held_out_labels({"labels": 40}), "scores": {"old": SCORES, "new": SCORES},
    }  # fmt: skip
    say_report(report, Path("S"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "0.800 [0.700, 0.900]" in line]
    assert len(lines) == 2 and all(line.endswith(report["evaluated_on"]) for line in lines)
