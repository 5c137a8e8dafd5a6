"""A model-based test of the tracker: files that appear, grow, are replaced or lose readers, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from photon_triage.core.common.errors import NotYetError, ReaderLostError, SourceError
from photon_triage.core.engine.events import (
    Event,
    FileReplaced,
    FileSeen,
    FileUpdate,
    FrameRequest,
    Frames,
    Purpose,
    RequestFailed,
)
from photon_triage.core.engine.requests import (
    ProbeReply,
    ProbeRequest,
    ReadReply,
    ReadRequest,
    Reply,
    Request,
    RereadReply,
    Surveyed,
    SurveyReply,
    SurveyRequest,
)
from photon_triage.core.engine.tracker import Tracker
from photon_triage.core.frames import Geometry
from photon_triage.core.session.state import FileStatus
from photon_triage.core.sources import SourceInfo, WatchedFile

SHAPE = (2, 2)
READERS = 3
PATIENCE = 60.0


@dataclass
class DiskFile:
    """A file as it lies on the model's disk; what stands in a frame's pixels is its content's number and its index.

    The data set that it shows has the content's number in its name.
    """

    path: str
    content: int
    written: int
    complete: bool
    damaged: set[int] = field(default_factory=set)
    inode: int = 0
    disturbed: bool = False
    """A reader was lost over it, or it could not be opened: it may be given up with frames that were not read."""

    @property
    def watched(self) -> WatchedFile:
        return WatchedFile(
            self.path, 8 * self.written + 1, self.content * 1000 + self.written, 1, self.inode or self.content
        )

    def info(self) -> SourceInfo:
        return SourceInfo(
            path=self.path,
            format="HDF5",
            layout="test",
            dataset=f"/images_{self.content}",
            frames=self.written,
            available=self.written,
            complete=self.complete,
            shape=SHAPE,
            dtype="int32",
            compression="",
            mask=None,
            geometry=Geometry(),
            simulated=True,
            run="run",
            proven=True,
        )

    def frames(self, start: int, stop: int, dataset: str = "") -> np.ndarray:
        content = int(dataset.removeprefix("/images_") or self.content)
        values = 1000 * content + np.arange(start, stop, dtype=np.int32)
        return np.broadcast_to(values[:, None, None], (stop - start, *SHAPE))


@dataclass
class Told:
    """What the event stream has said of a path."""

    status: FileStatus | None = None
    has_info: bool = False
    frames: dict[int, int] = field(default_factory=dict)


class TrackerMachine(RuleBasedStateMachine):
    """Any order of what may happen to files, readers and the clock."""

    files = Bundle("files")
    latest = False

    def __init__(self) -> None:
        super().__init__()
        self.tracker = Tracker(latest=self.latest, patience=PATIENCE, readers=READERS)
        self.now = 100.0
        self.disk: dict[str, DiskFile] = {}
        self.told: dict[str, Told] = {}
        self.pending: dict[int, Request] = {}
        self.contents = 0
        self.rereads = self.answered = 0

    # What happens on the disk

    @rule(
        target=files,
        written=st.integers(0, 50),
        complete=st.booleans(),
        damaged=st.sets(st.integers(0, 49), max_size=3),
    )
    def write(self, written: int, complete: bool, damaged: set[int]) -> str:
        path = f"/data/{len(self.disk)}.h5"
        self.contents += 1
        self.disk[path] = DiskFile(path, self.contents, written, complete, damaged)
        self.see(path)
        return path

    @rule(path=files, more=st.integers(1, 30))
    def grow(self, path: str, more: int) -> None:
        file = self.disk[path]
        if not file.complete:
            file.written += more
            self.see(path)

    @rule(path=files)
    def finish(self, path: str) -> None:
        self.disk[path].complete = True
        self.see(path)

    @rule(path=files, written=st.integers(0, 20))
    def replace(self, path: str, written: int) -> None:
        self.contents += 1
        self.disk[path] = DiskFile(path, self.contents, written, True)
        self.see(path)

    @rule(path=files, written=st.integers(1, 20))
    def show_another_data_set(self, path: str, written: int) -> None:
        self.contents += 1
        before = self.disk[path]
        inode = before.watched.inode
        self.disk[path] = DiskFile(path, self.contents, written, before.complete, set(), inode, before.disturbed)
        self.see(path)

    @rule(seconds=st.floats(0.01, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # What readers do

    @rule(has_room=st.booleans())
    def ask(self, has_room: bool) -> None:
        request = self.tracker.next_request(self.now, has_room=has_room)
        if request is not None:
            self.pending[request[0]] = request[1]
            assert has_room or not isinstance(request[1], ReadRequest)

    @precondition(lambda self: self.pending)
    @rule(choice=st.randoms(use_true_random=False), fault=st.sampled_from(["", "", "", "lost", "not yet", "short"]))
    def answer(self, choice: object, fault: str) -> None:
        ticket = sorted(self.pending)[choice.randrange(len(self.pending))]  # type: ignore[attr-defined]
        self.reply(ticket, fault)

    @rule(path=files)
    def read_again(self, path: str) -> None:
        frames = self.told[path].frames if path in self.told else {}
        if frames:
            self.rereads += 1
            self.tracker.request(FrameRequest(path, "/images", tuple(sorted(frames)[:5]), Purpose.RESCORE))

    @rule(path=files)
    def fail_to_score(self, path: str) -> None:
        frames = self.told[path].frames if path in self.told else {}
        if frames and not self.disk[path].damaged:
            index = min(frames)
            self.disk[path].damaged.add(index)
            del frames[index]  # it is not recorded
            self.tracker.fail(path, {index: "the stage spots failed on it"}, self.now, set_aside=False)
            self.listen()

    @invariant()
    def the_totals_are_those_of_the_files(self) -> None:
        active = self.tracker.ledger.active.values()
        queue = self.tracker.queue
        assert queue.unread == sum(each.unread for each in active)
        if self.latest:
            passed = sum(each.unread if each.fresh < queue._newest_read else each.passed_over for each in active)
            assert queue.passed_over == passed
        else:
            assert queue.passed_over == 0

    def teardown(self) -> None:
        """In the end the files are complete and readers answer: every frame that can be read was emitted once."""
        for file in self.disk.values():
            file.complete = True
            self.see(file.path)
        for _ in range(3000):
            if self.pending:
                self.reply(min(self.pending), "")
            elif (request := self.tracker.next_request(self.now, has_room=True)) is not None:
                self.pending[request[0]] = request[1]
            elif self.tracker.idle:
                break
            else:
                self.now += 1.0
        assert self.tracker.idle and self.tracker.backlog == (0, 0)
        assert self.answered == self.rereads
        for path, file in self.disk.items():
            told = self.told[path]
            assert told.status is not None and told.status.is_final
            if not file.disturbed:
                good = set(range(file.written)) - file.damaged
                assert good <= set(told.frames) <= set(range(file.written))
                assert (told.status is FileStatus.COMPLETE) == (not file.damaged & set(range(file.written))), (
                    told,
                    file,
                )
            assert set(told.frames.values()) <= {file.content}

    def see(self, path: str) -> None:
        self.tracker.found([self.disk[path].watched], [], True, self.now)
        self.listen()

    def reply(self, ticket: int, fault: str) -> None:
        request = self.pending.pop(ticket)
        self.tracker.reply(ticket, self.reply_to(request, fault), self.now)
        self.listen()

    def reply_to(self, request: Request, fault: str) -> Reply:
        lost = ReaderLostError("its reader process died") if fault == "lost" else None
        not_yet = NotYetError("it is locked") if fault == "not yet" else None
        match request:
            case SurveyRequest(surveys):
                if lost:
                    self.disk[surveys[0].path].disturbed = True
                    return SurveyReply([Surveyed(error=lost)])
                asked = surveys[:1] if fault == "short" else surveys
                results = []
                for survey in asked:
                    file = self.disk[survey.path]
                    file.disturbed |= not_yet is not None
                    small = file.complete and not file.damaged and request.read_bytes > 0
                    frames = file.frames(0, file.written) if small and file.written else None
                    results.append(Surveyed(error=not_yet) if not_yet else Surveyed(file.info(), frames=frames))
                return SurveyReply(results)
            case ReadRequest(info, start, stop, singly):
                file = self.disk[info.path]
                if lost:
                    file.disturbed = True
                    return ReadReply(error=lost)
                file.disturbed |= not_yet is not None
                if not_yet or file.written < stop:
                    return ReadReply(error=not_yet or NotYetError("it is shorter now"))
                bad = {index: SourceError("it is damaged") for index in range(start, stop) if index in file.damaged}
                if not singly:
                    return (
                        ReadReply(error=next(iter(bad.values())))
                        if bad
                        else ReadReply([(start, file.frames(start, stop, info.dataset))])
                    )
                pieces = [
                    (index, file.frames(index, index + 1, info.dataset))
                    for index in range(start, stop)
                    if index not in bad
                ]
                return ReadReply(pieces, errors=bad)
            case ProbeRequest(info, start, stop):
                return ProbeReply([(start, min(stop, self.disk[info.path].written))])
            case FrameRequest(path, _, indices):
                file = self.disk[path]
                if lost or max(indices) >= file.written:
                    return RereadReply(error=lost or SourceError("it is shorter now"))
                return RereadReply(file.info(), np.concatenate([file.frames(each, each + 1) for each in indices]))

    def listen(self) -> None:
        for event in self.tracker.take_events():
            self.hear(event)

    def hear(self, event: Event) -> None:
        match event:
            case FileSeen(file):
                assert file.path not in self.told, "seen twice"
                self.told[file.path] = Told()
            case FileUpdate(file, status, _, info):
                told = self.told[file.path]
                told.status, told.has_info = status, told.has_info or info is not None
            case FileReplaced(path):
                self.told[path] = Told()
            case Frames(info, indices, frames, purpose=Purpose.SCORE):
                told = self.told[info.path]
                assert told.has_info and told.status is FileStatus.READING, "a frame has overtaken its file"
                for index, frame in zip(indices, frames, strict=True):
                    assert index not in told.frames, "emitted twice"
                    content, stored = divmod(int(frame[0, 0]), 1000)
                    assert stored == index
                    told.frames[index] = content
            case Frames(purpose=Purpose.RESCORE) | RequestFailed():
                self.answered += 1


class LatestFirst(TrackerMachine):
    """The same with the newest frames first."""

    latest = True


def test_a_file_does_not_end_while_a_look_at_what_stands_in_its_place_is_under_way() -> None:
    machine = TrackerMachine()
    machine.write(0, False, set())
    path = "/data/0.h5"
    machine.ask(has_room=False)
    machine.replace(path, 1)
    machine.reply(1, "")  # it tells of the second file, which the watcher has not seen to be another one yet
    machine.replace(path, 1)
    machine.ask(has_room=True)
    machine.ask(has_room=False)
    read, look = sorted(machine.pending)
    assert isinstance(machine.pending[read], ReadRequest) and isinstance(machine.pending[look], SurveyRequest)
    machine.told[path].frames.clear()
    machine.tracker.reply(read, ReadReply([(0, machine.disk[path].frames(0, 1, "/images_2"))]), machine.now)
    del machine.pending[read]
    machine.listen()
    machine.reply(look, "")
    machine.teardown()
    assert machine.told[path].frames == {0: 3}


def test_a_file_does_not_end_while_a_look_that_was_due_has_cost_a_reader() -> None:
    machine = TrackerMachine()
    machine.write(0, False, set())
    path = "/data/0.h5"
    machine.ask(has_room=False)
    machine.replace(path, 1)
    machine.reply(1, "")
    read, _ = machine.tracker.next_request(machine.now, has_room=True) or (0, None)
    machine.replace(path, 1)
    machine.tracker.reply(read, ReadReply([(0, machine.disk[path].frames(0, 1, "/images_2"))]), machine.now)
    machine.listen()
    machine.ask(has_room=False)
    machine.reply(min(machine.pending), "lost")
    machine.teardown()
    assert machine.told[path].frames == {0: 3}


TestInOrder = TrackerMachine.TestCase
TestLatestFirst = LatestFirst.TestCase
TestInOrder.settings = TestLatestFirst.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
