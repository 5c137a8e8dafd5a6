"""The models that a session scored with and the lists that were exported from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from photon_triage.core.common.containment import read_json, regular_files
from photon_triage.core.metrics import Estimate
from photon_triage.core.session.models.catalog import ModelEntry, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.reader import ResultsReader

LARGEST_MANIFEST = 4_000_000
"""Bytes; what is larger is no manifest that this program wrote."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model: what it was made from and how it scored on what."""

    name: str
    in_use: bool
    frames: int
    """Frames that it scored in this session."""
    origin: str
    parent: str
    trained_on: str
    created: str
    scores: Mapping[str, Estimate]
    evaluated: int | None
    """How many frames, labels, objects or pixels it was scored on."""
    evaluated_on: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class ExportFacts:
    """A list that was written."""

    name: str
    time: str
    format: str
    select: str
    threshold: float | None
    written: int | None
    complete: bool | None


def model_facts(session: Session, reader: ResultsReader) -> tuple[ModelFacts, ...]:
    """The models that the session scored with, those that were trained in it, and the one in use."""
    scored = reader.scoring_models()
    in_use = reader.state().model or ""
    own = session_models(session.models_path)
    known = shipped_models() | own
    names = dict.fromkeys([*scored, *own, *([in_use] if in_use else [])])
    return tuple(_facts(name, known.get(name), scored.get(name, 0), name == in_use) for name in names)


def _facts(name: str, entry: ModelEntry | None, frames: int, in_use: bool) -> ModelFacts:
    metadata = entry.metadata if entry else {}
    data, scores = _table(metadata, "data"), _table(metadata, "scores")
    return ModelFacts(
        name,
        in_use,
        frames,
        entry.origin if entry else "not here",
        str(metadata.get("parent") or ""),
        str(data.get("trained_on", "")),
        str(metadata.get("created") or ""),
        {key: found for key in ("precision", "recall", "f1") if (found := _estimate(scores, key))},
        _whole(scores.get("n")),
        entry.evaluated_on if entry else "",
        bool(data.get("simulated")) or "imulated" in str(metadata.get("note", "")),
    )


def export_facts(folder: Path) -> tuple[ExportFacts, ...]:
    """What the .json files beside exported lists say, oldest first."""
    found = []
    for path in regular_files(folder, folder.parent, suffix=".json"):
        manifest = _read(path)
        if manifest is None or manifest.get("product") != "photon-triage":
            continue
        threshold = manifest.get("threshold")
        found.append(
            ExportFacts(
                path.name.removesuffix(".json"),
                str(manifest.get("time", "")),
                str(manifest.get("format", "")),
                str(manifest.get("select", "")),
                float(threshold) if isinstance(threshold, int | float) else None,
                _whole(manifest.get("written")),
                complete if isinstance(complete := manifest.get("complete"), bool) else None,
            )
        )
    return tuple(sorted(found, key=lambda each: each.time))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        loaded = read_json(path, path.parent, LARGEST_MANIFEST)
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _estimate(scores: Mapping[str, Any], name: str) -> Estimate | None:
    value, interval = scores.get(name), scores.get(f"{name}_interval")
    if not isinstance(value, int | float) or not isinstance(interval, list) or len(interval) != 2:
        return None
    low, high = interval
    return Estimate(value, low, high) if isinstance(low, int | float) and isinstance(high, int | float) else None


def _table(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metadata.get(name)
    return found if isinstance(found, dict) else {}


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
