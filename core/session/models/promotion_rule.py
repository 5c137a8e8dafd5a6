"""When one model is better than another: how many labelled frames must say so, and how surely."""

from __future__ import annotations

from dataclasses import replace

from photon_triage.core.audit.paired import frames_needed
from photon_triage.core.metrics import Estimate
from photon_triage.core.session.models.verdicts import Judged, Verdict

LEAST_OF_A_KIND, LEAST_JUDGED = 5, 20
"""Accepted and rejected frames, and all, that must be judged before a model is promoted."""
AUDIT_ACCEPTED, AUDIT_JUDGED = 10, 50
"""From so many on the audit decides, of whose frames none was chosen by a ranking."""
CHANCE = 0.1
"""A gain that chance brings about more often than this is none."""
CONTRADICTED = 0.05
MAY_WAIT = 0.1
"""Part of the labelled frames that may still wait for the score of a model."""


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


def _is_enough(judged: Judged) -> bool:
    """Whether so many were judged that a verdict can be spoken."""
    return judged.n >= LEAST_JUDGED and min(judged.accepted, judged.n - judged.accepted) >= LEAST_OF_A_KIND


def _compare(judged: Judged) -> tuple[bool, int, str]:
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
