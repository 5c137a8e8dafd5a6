from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.tui.ptys import PATIENCE_S, Line

SPI_KEYS = [
    "frames_written", "frames_seen", "labels", "threshold",
    "precision", "precision_interval", "recall", "recall_interval", "f1", "f1_interval", "tp", "fp", "fn", "tn",
    "baseline_f1", "baseline_lit_pixels", "single_hits", "in_size_window", "single_hits_in_size_window",
    "model", "simulated",
]  # fmt: skip


def demonstrate(kind: str, folder: Path) -> dict[str, Any]:
    """The report of a second of beam time; the folder is left for the test to look at."""
    options = ["--kind", kind, "--seconds", "1", "--no-screen", "--json", "--keep", str(folder)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "photon_triage.tui", "demo", *options],
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout[: done.stdout.rindex("}") + 1])
    return report


def test_single_particles_are_shown_with_the_metrics_that_scripts_know(tmp_path: Path) -> None:
    report = demonstrate("spi", tmp_path)
    assert list(report) == SPI_KEYS
    assert report["frames_written"] == report["frames_seen"] == report["labels"] == 20


def test_materials_of_a_tomogram_are_told_apart(tmp_path: Path) -> None:
    report = demonstrate("tomo", tmp_path)
    assert report["frames_written"] == report["frames_seen"] == report["labels"] == 2
    assert report["pixels"] == 2 * 512 * 512 and report["simulated"]
    assert report["f1"] > 0.5 and report["classes"]["implant"]["f1"] > 0.8


def test_membranes_and_injectisomes_are_found(tmp_path: Path) -> None:
    report = demonstrate("cryoet", tmp_path)
    assert report["frames_written"] == report["frames_seen"] == 1
    assert report["membrane"]["f1"] > 0.6
    assert report["candidates"] >= report["tp"] + report["fp"]
    assert report["tp"] + report["fn"] == report["labels"]
    assert (tmp_path / "session" / "recipe.toml").exists()


def test_where_the_line_drops_nothing_of_it_is_left(tmp_path: Path) -> None:
    with closing(Line(tmp_path, "demo", "--seconds", "60", TMPDIR=str(tmp_path))) as line:
        line.shows("Candidates", "▀▀▀")
        (place,) = tmp_path.glob("photon-triage-demo-*")
        assert processes_about(place)
        line.drop()
        assert line.process.wait(PATIENCE_S) == 0
    assert not place.exists()
    assert not processes_about(place)


def processes_about(folder: Path) -> list[str]:
    """Command lines that name the folder."""
    listing = subprocess.run(["ps", "-A", "-ww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if str(folder) in line]
