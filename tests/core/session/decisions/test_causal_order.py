"""Decisions win over all that their writers could read, whatever the clocks say."""

from __future__ import annotations

import json
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from photon_triage.core.common import containment
from photon_triage.core.session.decisions.causal_order import AHEAD_S
from photon_triage.core.session.decisions.commands import CommandFollower, ask_to_use
from photon_triage.core.session.decisions.journal import JournalFollower, JournalWriter, Record
from photon_triage.core.session.decisions.labels import LabelBook, LabelWriter, Verdict

from ..builders import key

FRAMES = [key("/data/a.cxi", index) for index in range(3)]
FRAME = FRAMES[0]


class Clock:
    """A host's clock: wrong by some seconds, as far as a test has set it."""

    def __init__(self, wrong: float = 0.0) -> None:
        self.wrong = wrong

    def __call__(self) -> float:
        return time.time() + self.wrong


def book(folder: Path) -> LabelBook:
    labels = LabelBook(folder)
    labels.refresh()
    return labels


def writer(folder: Path, wrong: float, who: str = "ada") -> LabelWriter:
    return LabelWriter(JournalWriter(folder, who, clock=Clock(wrong)))


@pytest.mark.parametrize("apart", [40.0, 3600.0, 1e9])
def test_of_two_writers_that_were_open_before_the_later_decision_counts(tmp_path: Path, apart: float) -> None:
    ahead, behind = writer(tmp_path, apart), writer(tmp_path, 0.0)
    ahead.decide(FRAMES[1], "skipped")
    behind.decide(FRAMES[1], "skipped")
    for last, verdict in ((ahead, "accepted"), (behind, "rejected"), (ahead, "skipped"), (behind, "accepted")):
        last.decide(FRAME, verdict)  # type: ignore[arg-type]
        labels = book(tmp_path)
        assert (labels.labels[FRAME].verdict, labels.conflicts) == (verdict, set())


def test_a_clock_that_jumps_back_between_decisions_of_an_open_writer_loses_none(tmp_path: Path) -> None:
    clock = Clock(86400.0)
    jumping, other = LabelWriter(JournalWriter(tmp_path, "ada", clock=clock)), writer(tmp_path, 0.0)
    jumping.decide(FRAME, "accepted")
    other.decide(FRAME, "skipped")
    clock.wrong = 0.0
    jumping.decide(FRAME, "rejected")
    assert book(tmp_path).labels[FRAME].verdict == "rejected"


def test_the_last_command_counts_whatever_the_clocks_say(tmp_path: Path) -> None:
    ahead, behind = (JournalWriter(tmp_path, clock=Clock(wrong)) for wrong in (3600.0, -40.0))
    ask_to_use(ahead, "first")
    ask_to_use(behind, "second")
    assert CommandFollower(tmp_path).wishes().models == ("first", "second")
    ask_to_use(ahead, "first")
    assert CommandFollower(tmp_path).wishes().models == ("second", "first")


@pytest.mark.parametrize(("ahead", "adopted"), [(AHEAD_S - 60.0, True), (AHEAD_S + 60.0, False), (3e9, False)])
def test_a_stamp_far_ahead_of_its_files_time_moves_no_other_clock(tmp_path: Path, ahead: float, adopted: bool) -> None:
    wrong = writer(tmp_path, ahead).decide(FRAME, "accepted")
    right = writer(tmp_path, 0.0)
    decided = right.decide(FRAME, "rejected")
    assert (decided.stamp > wrong.stamp) == adopted
    assert decided.stamp - time.time() < AHEAD_S
    assert book(tmp_path).labels[FRAME].verdict == "rejected"


def test_a_clock_that_was_wrong_for_one_decision_is_right_again_in_the_next(tmp_path: Path) -> None:
    clock = Clock(86400.0)
    healed = LabelWriter(JournalWriter(tmp_path, "ada", clock=clock))
    healed.decide(FRAME, "accepted")
    clock.wrong = 0.0
    assert healed.decide(FRAME, "rejected").stamp <= time.time() + AHEAD_S
    assert book(tmp_path).labels[FRAME].verdict == "rejected"


def concurrent(folder: Path, verdicts: tuple[Verdict, Verdict], classes: tuple[str, str] = ("", "")) -> LabelBook:
    """A book of two decisions of the same person that were made in copies of a session and brought together."""
    sites = folder / "one", folder / "other"
    for site, verdict, category in zip(sites, verdicts, classes, strict=True):
        writer(site, 0.0).decide(FRAME, verdict, category=category)
    shutil.copytree(sites[1], sites[0], dirs_exist_ok=True)
    return book(sites[0])


def test_decisions_of_which_neither_could_be_read_are_disputed(tmp_path: Path) -> None:
    labels = concurrent(tmp_path, ("accepted", "rejected"))
    assert (labels.conflicts, FRAME in labels.labels) == ({FRAME}, True)
    writer(tmp_path / "one", 0.0).decide(FRAME, "accepted")
    labels.refresh()
    assert (labels.conflicts, labels.labels[FRAME].verdict) == (set(), "accepted")


def test_decisions_that_differ_in_the_class_alone_are_disputed(tmp_path: Path) -> None:
    assert concurrent(tmp_path, ("accepted", "accepted"), ("single", "multiple")).conflicts == {FRAME}


def test_decisions_that_agree_are_not_disputed(tmp_path: Path) -> None:
    assert concurrent(tmp_path, ("accepted", "accepted")).conflicts == set()


def test_a_decision_that_was_taken_for_another_is_not_disputed_with_a_third(tmp_path: Path) -> None:
    sites = tmp_path / "one", tmp_path / "other"
    for verdict in ("rejected", "accepted"):
        writer(sites[0], 0.0).decide(FRAME, verdict)
    writer(sites[1], 40.0).decide(FRAME, "accepted")
    shutil.copytree(sites[1], sites[0], dirs_exist_ok=True)
    assert book(sites[0]).conflicts == set()


def test_a_journal_that_its_writer_could_not_read_is_not_superseded(tmp_path: Path) -> None:
    hidden = writer(tmp_path, 0.0)
    journal = next(iter([hidden.decide(FRAME, "accepted").journal]))
    aside = (tmp_path / journal).rename(tmp_path / "aside")
    writer(tmp_path, 0.0).decide(FRAME, "rejected")
    aside.rename(tmp_path / journal)
    assert book(tmp_path).conflicts == {FRAME}


def test_journals_of_the_previous_version_are_read_in_the_order_of_their_stamps(tmp_path: Path) -> None:
    journals = [JournalWriter(tmp_path, "ada", clock=lambda when=when: when) for when in (2000.0, 1000.0)]  # type: ignore[misc]
    for journal, verdict in zip(journals, ("accepted", "rejected"), strict=True):
        LabelWriter(journal).decide(FRAME, verdict)  # type: ignore[arg-type]
    for journal in journals:
        journal.path.write_bytes(as_the_previous_version_wrote_it(journal.path.read_bytes()))
    labels = book(tmp_path)
    assert labels.damaged == 0
    assert (labels.labels[FRAME].verdict, labels.conflicts) == ("rejected", set())
    writer(tmp_path, 0.0).decide(FRAME, "skipped")
    labels.refresh()
    assert (labels.labels[FRAME].verdict, labels.conflicts) == ("skipped", set())


def as_the_previous_version_wrote_it(data: bytes) -> bytes:
    lines = []
    for line in data.splitlines():
        fields = json.loads(line.partition(b" ")[2])
        del fields["seen"]
        body = json.dumps(fields, separators=(",", ":")).encode()
        lines.append(b"%08x %s\n" % (zlib.crc32(body), body))
    return b"".join(lines)


def test_who_claims_to_have_read_what_was_not_written_yet_does_not_win_for_that(tmp_path: Path) -> None:
    honest, planted = JournalWriter(tmp_path, "ada"), JournalWriter(tmp_path, "eve")
    LabelWriter(honest).decide(FRAMES[1], "accepted")
    claim = {"seen": {honest.path.stem.rpartition("-")[2][:12]: 1000}}
    fields = {"file": FRAME.file, "dataset": FRAME.dataset, "index": FRAME.index, "verdict": "rejected"}
    planted.append("label", **fields, **claim)
    LabelWriter(honest).decide(FRAME, "accepted")
    assert book(tmp_path).labels[FRAME].verdict == "accepted"


def test_records_that_claim_to_have_read_each_other_are_both_read(tmp_path: Path) -> None:
    one, other = JournalWriter(tmp_path, "ada"), JournalWriter(tmp_path, "eve")
    for mine, yours in ((one, other), (other, one)):
        mine.append("flag", seen={yours.path.stem.rpartition("-")[2][:12]: 5}, number=1)
    assert len(JournalFollower(tmp_path).new_records()) == 2


def test_what_is_written_while_journals_are_read_never_comes_before_what_its_writer_had_read(tmp_path: Path) -> None:
    """The journal that is read first gets a decision, and the last one an answer to it, between their reading."""
    clocks = Clock(), Clock()
    journals = [JournalWriter(tmp_path, "ada", clock=clock) for clock in clocks]
    first, last = (LabelWriter(journal) for journal in sorted(journals, key=lambda journal: journal.path))
    first_path = min(journal.path for journal in journals)
    clocks[journals[0].path != first_path].wrong = 1e6
    for each in (first, last):
        each.decide(FRAMES[1], "skipped")
    labels = book(tmp_path)
    follower = labels._follower
    read = follower._read

    def interrupted(path: Path, found: list[Record]) -> None:
        read(path, found)
        if path == first_path:
            follower._read = read  # type: ignore[method-assign]
            first.decide(FRAME, "accepted")
            last.decide(FRAME, "rejected")

    follower._read = interrupted  # type: ignore[method-assign]
    labels.refresh(complete=True)
    labels.refresh(complete=True)
    assert (labels.labels[FRAME].verdict, labels.conflicts) == ("rejected", set())


class CountedFolder:
    """Counts how often journals are opened, with a clock that a test moves."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.opened = 0.0, 0
        self.follower = JournalFollower(folder, monotonic=lambda: self.now)
        open_binary: Callable[..., object] = containment.open_binary

        def counted(*arguments: object) -> object:
            self.opened += 1
            return open_binary(*arguments)

        monkeypatch.setattr("photon_triage.core.session.decisions.journal.open_binary", counted)

    def opens(self, *, complete: bool = False) -> int:
        before = self.opened
        self.follower.new_records(complete=complete)
        return self.opened - before


def test_journals_that_have_not_changed_are_opened_every_five_seconds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = [JournalWriter(tmp_path, "ada") for _ in range(3)]
    for journal in journals:
        journal.append("flag")
    counted = CountedFolder(tmp_path, monkeypatch)
    assert [counted.opens(), counted.opens()] == [3, 0]
    journals[1].append("flag")
    assert [counted.opens(), counted.opens()] == [1, 0]
    assert counted.opens(complete=True) == 3
    counted.now = 4.9
    assert counted.opens() == 0
    counted.now = 5.0
    assert counted.opens() == 3


@dataclass(eq=False)
class Decision:
    """What the oracle knows of a decision: all decisions that its writer could read."""

    frame: int
    verdict: str
    past: frozenset[Decision]
    undone: bool = False


@dataclass(eq=False)
class Person:
    """A writer in one copy of the session, with what it can take back."""

    site: int
    clock: Clock
    journal: JournalWriter
    labels: LabelWriter
    made: list[Decision] = field(default_factory=list)


class DecisionOrder(RuleBasedStateMachine):
    """Writers with arbitrary clocks in copies of a session that are brought together now and then."""

    SITES = 2
    WRONG = st.sampled_from([0.0, 40.0, -40.0, 3600.0, -3600.0, 1e9, -1.5e9]) | st.floats(-1e9, 1e9)

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory(prefix="photon-triage-order-")
        self.sites = [Path(self.folder.name) / str(site) for site in range(self.SITES)]
        self.readable: list[set[Decision]] = [set() for _ in self.sites]
        self.people: list[Person] = []
        self.followed = LabelBook(self.sites[0])
        self.models: dict[str, frozenset[str]] = {}
        self.known: list[set[str]] = [set() for _ in self.sites]

    @rule(site=st.integers(0, SITES - 1), wrong=WRONG)
    def begin(self, site: int, wrong: float) -> None:
        clock = Clock(wrong)
        journal = JournalWriter(self.sites[site], "ada", clock=clock)
        self.people.append(Person(site, clock, journal, LabelWriter(journal)))

    @precondition(lambda self: self.people)
    @rule(data=st.data(), wrong=WRONG)
    def set_clock(self, data: st.DataObject, wrong: float) -> None:
        data.draw(st.sampled_from(self.people)).clock.wrong = wrong

    @precondition(lambda self: self.people)
    @rule(data=st.data(), frame=st.integers(0, 2), verdict=st.sampled_from(["accepted", "rejected", "skipped"]))
    def decide(self, data: st.DataObject, frame: int, verdict: Verdict) -> None:
        person = data.draw(st.sampled_from(self.people))
        person.labels.decide(FRAMES[frame], verdict)
        decision = Decision(frame, verdict, frozenset(self.readable[person.site]))
        self.readable[person.site].add(decision)
        person.made.append(decision)

    @precondition(lambda self: any(person.made for person in self.people))
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from([person for person in self.people if person.made]))
        person.labels.undo()
        # At another site the decision stands until the next copy: only the site that is looked at is compared then.
        person.made.pop().undone = True
        self.copy(person.site, 1 - person.site)

    @precondition(lambda self: self.people)
    @rule(data=st.data())
    def use_model(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(self.people))
        name = f"model-{len(self.models)}"
        ask_to_use(person.journal, name)
        self.models[name] = frozenset(self.known[person.site])
        self.known[person.site].add(name)

    @rule(source=st.integers(0, SITES - 1))
    def bring_together(self, source: int) -> None:
        self.copy(source, 1 - source)

    def copy(self, source: int, target: int) -> None:
        """Bring what one site has to another; a writer's own journal only ever grows at its own site."""
        if not self.sites[source].exists():
            return
        self.sites[target].mkdir(exist_ok=True)
        for path in self.sites[source].glob("*.jsonl"):
            place = self.sites[target] / path.name
            if not place.exists() or place.stat().st_size < path.stat().st_size:
                shutil.copy(path, place)
        self.readable[target] |= self.readable[source]
        self.known[target] |= self.known[source]

    @invariant()
    def every_reader_takes_the_order_of_the_oracle(self) -> None:
        for site, folder in enumerate(self.sites):
            labels = book(folder)
            for frame, of in enumerate(FRAMES):
                there = [each for each in self.readable[site] if each.frame == frame and not each.undone]
                standing = [each for each in there if not any(each in other.past for other in there)]
                verdicts = {each.verdict for each in standing}
                counts = labels.labels.get(of)
                assert (counts is not None and counts.verdict in verdicts) or not there
                assert (of in labels.conflicts) == (len(verdicts) > 1)
            models = list(CommandFollower(folder).wishes().models)
            assert set(models) == self.known[site]
            for place, name in enumerate(models):
                assert not self.models[name] & set(models[place:])

    @invariant()
    def following_gives_what_reading_at_once_gives(self) -> None:
        self.followed.refresh()
        at_once = book(self.sites[0])
        assert (self.followed.labels, self.followed.conflicts) == (at_once.labels, at_once.conflicts)

    def teardown(self) -> None:
        for person in self.people:
            person.journal.close()
        self.folder.cleanup()


TestDecisionOrder = DecisionOrder.TestCase
TestDecisionOrder.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
