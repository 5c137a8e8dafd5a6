"""What a training follows from, by which one that was interrupted is known again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from photon_triage.core.session.session import Session

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

BESIDE = frozenset({"session", "name", "device", "command", "note", "anew", "checkpoints_kept", "remarks"})
"""What is told of a training and changes nothing in what it comes to: where, under which name, for whom."""


def settings_of(job: DataclassInstance, **derived: Any) -> dict[str, Any]:
    """Everything that a job asks for, but what is BESIDE, as JSON values, with the session's recipe.

    job: it has a `session`. derived: what follows from the job in this session, such as the file of the model in use.
    """
    session: Session = job.session  # type: ignore[attr-defined]
    told = {each.name: getattr(job, each.name) for each in fields(job) if each.name not in BESIDE}
    recipe = session.recipe_text()
    plain: dict[str, Any] = json.loads(json.dumps(told | {"recipe": recipe} | derived, default=_plain))
    return plain


def digest_of(settings: Mapping[str, Any]) -> str:
    """A short name for settings, JSON values, the same in whatever order they stand."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, Session):
        return str(value.path)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)
