"""Reports of a training on stdout: progress, scores, and how the labels represent the frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from photon_triage.core.common.errors import TrainingError
from photon_triage.tui.commands.output import progress_bar, say, say_table

if TYPE_CHECKING:
    from photon_triage.core.training.loop.progress import Note
from pathlib import Path

RUNS_SHOWN = 12
MEASURES = ("precision", "recall", "f1")


def say_representation(said: Mapping[str, Any]) -> None:
    """Print the runs, the measures and the warnings of a representation as JSON values."""
    taken = sum(run["learned"] > 0 for run in said["runs"])
    elsewhere = f", and {said['elsewhere']} frames from elsewhere" if said["elsewhere"] else ""
    say(
        f"Learned from: {said['learned']} of {said['frames']} frames that reach the network, of {taken} of "
        f"{len(said['runs'])} runs ({said['accepted']} accepted, {said['rejected']} rejected){elsewhere}."
    )
    if said["learned"]:
        rows: list[tuple[str, ...]] = [("measure", "learned", "beamtime", "difference", "KS", "by chance")]
        for each in said["measures"]:
            rows.append(
                (
                    each["name"], f"{each['learned']:.5g}", f"{each['beamtime']:.5g}", _difference(each["difference"]),
                    f"{each['ks']:.3f}", f"{each['ks_limit']:.3f}",
                )
            )  # fmt: skip
        say_table(rows)
    if len(said["runs"]) > 1:
        rows = [("run", "frames", "learned")]
        rows += [(run["run"], str(run["frames"]), str(run["learned"])) for run in said["runs"][:RUNS_SHOWN]]
        say_table(rows)
        if (more := len(said["runs"]) - RUNS_SHOWN) > 0:
            say(f"... and {more} runs more.")
    if (features := said["features"]) is not None:
        told = "undefined" if features["ratio"] is None else f"{features['ratio']:.2f}"
        say(
            f"In the network's features {features['drawn']} other frames lie {told} times as far from what is learned "
            "from as that lies apart."
        )
    for warning in said["warnings"]:
        say(f"Warning: {warning}")


def _difference(value: float | None) -> str:
    return "undefined" if value is None else f"{value:+.2f} sd"


@contextmanager
def shown_training(what: str, interrupted: str, hint: str, *, quiet: bool) -> Iterator[Note]:
    """A progress bar with loss and F1 while the block runs; give the training what this yields, to be told by it.

    Ctrl+C in the block raises TrainingError with the message `interrupted` and its hint.
    """
    with progress_bar(what, None, quiet=quiet) as advance:

        def note(done: int, planned: int, loss: float, f1: float | None) -> None:
            advance(done, total=planned, note=f"loss {loss:.4f}" + ("" if f1 is None else f"  F1 {f1:.3f}"))

        try:
            yield note
        except KeyboardInterrupt:
            raise TrainingError(interrupted, hint, title="Interrupted") from None


def say_report(report: Mapping[str, Any], session: Path) -> None:
    """Print what it learned from, and its scores beside those of the model that it continues."""
    if report.get("unit") == "images":
        _say_images(report)
    else:
        _say_labels(report)
    _say_beginning(report)
    if report.get("representation") is not None:
        say_representation(report["representation"])
    if report["simulated"]:
        say("Simulated data: these numbers are of a simulation, not of an experiment.")
    say(f"To use it: photon-triage models use {session} {report['name']}")


def _say_beginning(report: Mapping[str, Any]) -> None:
    """From where its weights and its labels came, where that is not the usual."""
    told = report.get("training") or {}
    if told.get("init"):
        say(f"It began with {told['init']['text']}.")
    if told.get("frozen_numbers"):
        say(f"Of it {told['frozen_numbers']:,} numbers stayed as they were.")
    if (norms := told.get("norms")) and norms["adapted"]:
        say(
            f"These frames are unlike those that it learned from, by {norms['deviations']:.2f} deviations: its "
            f"batch-norms were measured anew on {norms['frames']} of them."
        )
    if sources := told.get("sources") or report.get("sources"):
        say("It learned from " + ", ".join(f"{count} {name}" for name, count in sources.items()) + ".")
    if left := report.get("audit_left_out"):
        say(f"{left} labels of the audit were left to judge models.")
    if changed := told.get("changed_left_out") or report.get("changed_left_out"):
        say(f"{changed} labels are of frames that have changed since, and were left out.")


def _say_labels(report: Mapping[str, Any]) -> None:
    say(
        f"Trained {report['name']} on {report['trained_on']} labels ({report['accepted']} accepted) "
        f"in {report['seconds']:.0f} s."
    )
    rows: list[tuple[str, ...]] = [("model", "n", "precision", "recall", "F1", "evaluated on")]
    for model, scores in report["scores"].items():
        values = (_estimate(scores, key) for key in MEASURES)
        rows.append((model, str(scores["n"]), *values, report["evaluated_on"]))
    say_table(rows)
    if report.get("suggested_threshold") is not None:
        say(f"Highest F1 on the validation labels at threshold {report['suggested_threshold']:.3f}.")


def _say_images(report: Mapping[str, Any]) -> None:
    say(
        f"Trained {report['name']} ({report['family']}) on {report['trained_on']} images in {report['seconds']:.0f} s; "
        f"evaluated on {', '.join(report['images']['test'])}."
    )
    if report["chosen_by_held_back"]:
        say("The same images chose the best checkpoint, so these scores are optimistic; 6 images allow for a test.")
    if "classes" in next(iter(report["scores"].values())):
        _say_pixels(report["scores"], report["evaluated_on"])
    else:
        _say_candidates(report["scores"], report["evaluated_on"])


def _say_pixels(each: Mapping[str, Any], evaluated_on: str) -> None:
    rows: list[tuple[str, ...]] = [("model", "class", "pixels", "precision", "recall", "F1", "IoU", "evaluated on")]
    for model, scores in each.items():
        for name, of_class in scores["classes"].items():
            shown = (_value(of_class[key]) for key in (*MEASURES, "iou"))
            rows.append((model, name, str(of_class["n"]), *shown, evaluated_on))
    say_table(rows)


def _say_candidates(each: Mapping[str, Any], evaluated_on: str) -> None:
    head = ("model", "objects", "found", "candidates", "precision", "recall", "F1", "evaluated on")
    rows: list[tuple[str, ...]] = [head]
    for model, scores in each.items():
        counts = (str(scores[key]) for key in ("n", "found", "candidates"))
        values = (_estimate(scores, "precision"), _estimate(scores, "recall"), _value(scores["f1"]))
        rows.append((model, *counts, *values, evaluated_on))
    say_table(rows)
    for model, scores in each.items():
        patches = scores["patches"]
        told = ", ".join(f"{key} {_value(patches[key])}" for key in MEASURES)
        say(f"{model}, patch by patch (n = {patches['n']}, half of them objects, of {evaluated_on}): {told}")


def _value(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _estimate(scores: Mapping[str, Any], key: str) -> str:
    low, high = scores[f"{key}_interval"]
    return "undefined" if scores[key] is None else f"{scores[key]:.3f} [{low:.3f}, {high:.3f}]"
