"""When one model is better than another: how many labelled frames must say so, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from photon_triage.core.audit.paired_difference import F1Difference, McNemar, frames_needed
from photon_triage.core.frames import FrameKey
from photon_triage.core.metrics import Estimate

LEAST_OF_A_KIND, LEAST_JUDGED = 5, 20
"""Accepted and rejected frames, and all, that must be judged before a model is promoted."""
AUDIT_ACCEPTED, AUDIT_JUDGED = 10, 50
"""From so many on the audit decides, of whose frames none was chosen by a ranking."""
CHANCE = 0.1
"""A gain that chance brings about more often than this is none."""
CONTRADICTED = 0.05
MAY_WAIT = 0.1
"""Part of the labelled frames that may still wait for the score of a model."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Precision, recall and F1 of a model with their 95 % intervals."""

    precision: Estimate
    recall: Estimate
    f1: Estimate

    def as_json(self) -> dict[str, Any]:
        """Values, and intervals under NAME_interval."""
        found: dict[str, Any] = {}
        for name in ("precision", "recall", "f1"):
            told: Estimate = getattr(self, name)
            found |= {name: told.value, f"{name}_interval": [told.low, told.high]}
        return found


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Both models on one group of labelled frames.

    kind: "audit", drawn at random: the figures are of all frames; "labels", all labelled frames, chosen by rankings
    too: the figures are of those alone. n, accepted: frames, and true ones among them. difference: None where F1 of
    either is not defined.
    """

    kind: Literal["audit", "labels"]
    n: int
    accepted: int
    old: Figures
    new: Figures
    mcnemar: McNemar
    difference: F1Difference | None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "n": self.n,
            "accepted": self.accepted,
            "old": self.old.as_json(),
            "new": self.new.as_json(),
            "mcnemar": {"b": self.mcnemar.only_old, "c": self.mcnemar.only_new, "p": self.mcnemar.p},
            "f1_difference": None if self.difference is None else asdict(self.difference),
        }


@dataclass(frozen=True, slots=True)
class FlippedFrame:
    """A frame, or a labelled candidate, that one of the models selects and the other does not.

    accepted: what its label says, None where it has none.
    """

    key: FrameKey
    old: float | None
    new: float | None
    accepted: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        point = {"point": list(self.key.point)} if self.key.point else {}
        place = {"file": self.key.file, "dataset": self.key.dataset, "index": self.key.index}
        return place | point | {"old": self.old, "new": self.new, "accepted": self.accepted}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What two models are worth beside each other, and whether the new one is better.

    judge: the group that decides, None where nothing was judged or too many scores are waited for. left_out:
    labelled frames that one of them has learned from, or that lie beside such. waiting: labelled frames that one of
    them has not scored yet. compared: frames that both have scored, of which `gained` are selected by the new model
    alone and `lost` by the old one alone. needed: about how many more labels would tell; 0 where enough is known.
    """

    old: str
    new: str
    threshold: float
    judge: GroupComparison | None
    audit: GroupComparison | None
    labels: GroupComparison | None
    left_out: int
    waiting: int
    compared: int
    gained: tuple[FlippedFrame, ...]
    lost: tuple[FlippedFrame, ...]
    better: bool
    reason: str
    needed: int = 0
    warnings: tuple[str, ...] = field(default=())

    @property
    def waits(self) -> bool:
        """Whether so many scores are waited for that nothing is said yet."""
        return self.judge is None and self.waiting > 0

    def as_json(self, keys: int = 1000) -> dict[str, Any]:
        """The same as JSON values; at most so many frames that changed sides are listed in either direction."""
        groups = {"audit": self.audit, "labels": self.labels}
        decisive = self.judge.as_json() if self.judge else {"n": 0, "accepted": 0}
        return {
            "old_model": self.old,
            "new_model": self.new,
            "threshold": self.threshold,
            "better": self.better,
            "reason": self.reason,
            "warnings": list(self.warnings),
            "judged_by": self.judge.kind if self.judge else None,
            **decisive,
            **{name: group and group.as_json() for name, group in groups.items()},
            "left_out": self.left_out,
            "waiting": self.waiting,
            "needed": self.needed,
            "compared": self.compared,
            "changed": {name: _side(side, keys) for name, side in (("gained", self.gained), ("lost", self.lost))},
        }

    def summary(self) -> dict[str, Any]:
        """What is written down with a promotion."""
        said: dict[str, Any] = {"better": self.better, "reason": self.reason, "threshold": self.threshold}
        if self.judge is not None:
            said |= {"judged_by": self.judge.kind, "n": self.judge.n, "p": self.judge.mcnemar.p}
            said |= {"old_f1": self.judge.old.f1.value, "new_f1": self.judge.new.f1.value}
        return said


def decided(verdict: Verdict) -> Verdict:
    """The verdict with the group that decides, whether the new model is better, and why."""
    audit, labels = verdict.audit, verdict.labels
    by_audit = audit is not None and audit.n >= AUDIT_JUDGED and audit.accepted >= AUDIT_ACCEPTED and _is_enough(audit)
    judged = audit if by_audit else labels
    warnings = list(verdict.warnings)
    if verdict.waiting:
        warnings.append(f"{verdict.waiting} labelled frames wait for the score of one of the models.")
    if judged is not None and not by_audit:
        warnings.append(
            "The labels were chosen by rankings, not at random, and may favour either model: "
            f"an audit of {AUDIT_JUDGED} frames with {AUDIT_ACCEPTED} accepted ones would decide instead."
        )
    n = judged.n if judged else 0
    if verdict.waiting > MAY_WAIT * (verdict.waiting + n):
        # Numbers of the frames that happen to be scored first would be taken for those of all.
        ready = labels.n if labels else 0
        why = f"it waits for scores: both models have scored {ready} of {ready + verdict.waiting} labelled frames"
        return replace(verdict, judge=None, reason=why)
    if judged is None or not _is_enough(judged):
        accepted = judged.accepted if judged else 0
        of_kinds = max(LEAST_OF_A_KIND - accepted, 0) + max(LEAST_OF_A_KIND - (n - accepted), 0)
        needed = max(LEAST_JUDGED - n, of_kinds)
        why = (
            f"only {n} labelled frames may judge, {accepted} of them accepted; {LEAST_JUDGED} are needed, "
            f"with {LEAST_OF_A_KIND} accepted and {LEAST_OF_A_KIND} rejected: label about {needed} more"
        )
        return replace(verdict, judge=judged, reason=why, needed=needed, warnings=tuple(warnings))
    if judged.mcnemar.only_old > judged.mcnemar.only_new and judged.mcnemar.p < CONTRADICTED:
        warnings.append(
            f"{verdict.new} is right less often: on {judged.mcnemar.only_old} frames only {verdict.old} is, "
            f"on {judged.mcnemar.only_new} only {verdict.new} (p = {judged.mcnemar.p:.2g})."
        )
    better, needed, why = _compare(judged)
    return replace(verdict, judge=judged, better=better, reason=why, needed=needed, warnings=tuple(warnings))


def _side(side: Sequence[FlippedFrame], keys: int) -> dict[str, Any]:
    return {
        "n": len(side),
        "accepted": sum(each.accepted is True for each in side),
        "rejected": sum(each.accepted is False for each in side),
        "frames": [each.as_json() for each in side[:keys]],
    }


def _is_enough(judged: GroupComparison) -> bool:
    """Whether so many were judged that a verdict can be spoken."""
    return judged.n >= LEAST_JUDGED and min(judged.accepted, judged.n - judged.accepted) >= LEAST_OF_A_KIND


def _compare(judged: GroupComparison) -> tuple[bool, int, str]:
    """Whether the new model is better, how many more frames would tell, and why."""
    change = f"F1 {_shown(judged.old.f1)} to {_shown(judged.new.f1)} on {judged.n} frames"
    difference = judged.difference
    if difference is None:
        return False, 0, f"{change}: it is not defined"
    if difference.value <= 1e-12:
        return False, 0, f"{change}: it is not higher"
    if difference.chance > CHANCE:
        needed = frames_needed(difference, judged.mcnemar, judged.n, CHANCE) or 0
        return (
            False,
            needed,
            (
                f"{change}: may be chance, in {100 * difference.chance:.0f} % of such samples there is no gain; "
                f"they differ on {judged.mcnemar.differ} frames. Label about {needed} more"
            ),
        )
    return True, 0, f"{change}: higher, and not by chance ({100 * difference.chance:.2g} %)"


def _shown(told: Estimate) -> str:
    return "undefined" if told.value is None else f"{told.value:.3f}"
