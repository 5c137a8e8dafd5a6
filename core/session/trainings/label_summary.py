"""What a training would learn from: the labels by where they came from, the audit's apart, and the runs they cover."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from photon_triage.core.session.decisions.labels import Label
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT

IMPORTED, UNTOLD = "imported", "no queue"


@dataclass(frozen=True, slots=True)
class Count:
    """How many labels of one kind accept, and how many reject."""

    accepted: int = 0
    rejected: int = 0

    @property
    def both(self) -> int:
        """All of them."""
        return self.accepted + self.rejected


@dataclass(frozen=True)
class Learnable:
    """What there is to learn from.

    sources: by the queue that labels were made from, or that they were imported, most first. audit: made from the
    random sample; they judge models. changed: of frames that have changed since, not learned from. runs: labels to
    learn from by run, most first. all_runs: runs of the session.
    """

    sources: tuple[tuple[str, Count], ...]
    audit: Count
    skipped: int
    changed: int
    runs: tuple[tuple[str, int], ...]
    all_runs: int

    @property
    def total(self) -> Count:
        """All labels that would be learned from."""
        counts = [count for _, count in self.sources]
        return Count(sum(each.accepted for each in counts), sum(each.rejected for each in counts))


def learnable(session: Session) -> Learnable:
    """What a training begun now would learn from, as the journals and results.db tell."""
    book = session.labels()
    labels = book.labels.values()
    decided = [label for label in labels if label.verdict != "skipped"]
    of_source: dict[str, Counter[str]] = {}
    for label in decided:
        of_source.setdefault(source_of(label), Counter())[label.verdict] += 1
    counts = {name: Count(each["accepted"], each["rejected"]) for name, each in of_source.items()}
    audit = counts.pop(AUDIT, Count())
    run_of: dict[tuple[str, str], str] = {}
    if session.results_path.exists():
        reader = session.results()
        try:
            run_of = {(row.path, row.dataset): row.run for row in reader.files()}
        finally:
            reader.close()
    places = ((label.key.file, label.key.dataset) for label in decided if source_of(label) != AUDIT)
    runs = Counter(run_of[place] for place in places if place in run_of)
    sources = tuple(sorted(counts.items(), key=lambda each: (-each[1].both, each[0])))
    return Learnable(
        sources,
        audit,
        len(labels) - len(decided),
        len(book.changed),
        tuple(runs.most_common()),
        len(set(run_of.values())),
    )


def source_of(label: Label) -> str:
    """From which queue a label was made, or that it was imported."""
    if label.imported:
        return IMPORTED
    return label.queue or UNTOLD
