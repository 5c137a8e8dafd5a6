"""How far what is learned from stands for the beamtime, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from photon_triage.tui.commands.output import say, say_table

RUNS_SHOWN = 12


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
