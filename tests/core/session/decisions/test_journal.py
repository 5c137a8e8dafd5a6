from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_triage.core.common import containment
from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.decisions import journal as journal_module
from photon_triage.core.session.decisions.journal import JournalFollower, JournalWriter, Record, parse_line

KILLS = 20

BODY = b'{"seq":3,"time":12.5,"who":"ada","kind":"label","index":7}'
LINE = b"%08x %s" % (zlib.crc32(BODY), BODY)

WRITER = """
import sys
from pathlib import Path
from photon_triage.core.session.decisions.journal import JournalWriter
journal = JournalWriter(Path(sys.argv[1]), "ada")
while True:
    record = journal.append("label", file="/data/a.cxi", dataset="/d", index=0, verdict="accepted")
    sys.stdout.write(f"{record.journal} {record.sequence}\\n")
    sys.stdout.flush()
"""


def standing(folder: Path) -> list[Record]:
    """The records that nothing has taken back."""
    records = JournalFollower(folder).new_records()
    undone = {(record.fields["journal"], record.fields["of"]) for record in records if record.kind == "undo"}
    return [r for r in records if r.kind != "undo" and (r.journal, r.sequence) not in undone]


def test_what_was_written_is_read_in_order(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path, "ada")
    written = [journal.append("flag", place=place) for place in range(5)]
    assert JournalFollower(tmp_path).new_records() == written


def test_a_line_is_its_checksum_and_json() -> None:
    assert parse_line("j", LINE) == Record("j", 3, 12.5, "ada", "label", {"index": 7}, 12.5)


def test_a_follower_reads_each_record_once(tmp_path: Path) -> None:
    journal, follower = JournalWriter(tmp_path), JournalFollower(tmp_path)
    journal.append("flag")
    assert len(follower.new_records()) == 1
    assert follower.new_records() == []
    journal.append("flag")
    assert len(follower.new_records()) == 1


def test_two_writers_never_share_a_file(tmp_path: Path) -> None:
    one, other = JournalWriter(tmp_path, "ada"), JournalWriter(tmp_path, "ada")
    first, second = one.append("flag"), other.append("flag")
    assert one.path != other.path
    assert JournalFollower(tmp_path).new_records() == sorted([first, second], key=lambda r: r.order)


def test_a_torn_tail_waits_for_its_end(tmp_path: Path) -> None:
    journal, follower = JournalWriter(tmp_path), JournalFollower(tmp_path)
    journal.append("flag", place=0)
    journal.append("flag", place=1)
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-5])
    assert [r.fields["place"] for r in follower.new_records()] == [0]
    journal.path.write_bytes(data)
    assert [r.fields["place"] for r in follower.new_records()] == [1]
    assert follower.damaged == 0


@given(st.integers(0, len(LINE) - 1), st.integers(1, 255))
def test_a_changed_byte_is_never_believed(place: int, change: int) -> None:
    damaged = bytearray(LINE)
    damaged[place] ^= change
    record = parse_line("j", bytes(damaged))
    # The checksum's own digits may be written in capitals.
    assert record is None or bytes(damaged).lower() == LINE


@given(st.binary(max_size=60))
def test_no_line_breaks_the_follower(line: bytes) -> None:
    assert parse_line("j", line) is None


@pytest.mark.parametrize("body", [b"[]", b"[1]", b"null", b'"text"', b"{}", b'{"seq":"x","time":[],"who":1,"kind":2}'])
def test_a_line_of_another_form_is_damaged_even_with_its_checksum(body: bytes) -> None:
    assert parse_line("j", b"%08x %s" % (zlib.crc32(body), body)) is None


def test_damaged_lines_are_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path)
    for place in range(3):
        journal.append("flag", place=place)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(lines[0] + b"00000000" + lines[1][8:] + lines[2])
    follower = JournalFollower(tmp_path)
    assert [r.fields["place"] for r in follower.new_records()] == [0, 2]
    assert follower.damaged == 1


def test_a_short_write_is_not_saved_and_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalWriter(tmp_path)
    journal.append("flag", place=0)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[: len(data) // 2]))
        with pytest.raises(SessionError, match="were written") as error:
            journal.append("flag", place=1)
    assert error.value.title == "Not saved"
    journal.append("flag", place=2)
    assert [record.fields["place"] for record in standing(tmp_path)] == [0, 2]


def test_what_was_saved_of_a_batch_that_was_cut_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalWriter(tmp_path)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:-3]))
        with pytest.raises(SessionError, match="2 record"):
            journal.append_all([("flag", {"place": 0}), ("flag", {"place": 1})])
    again = journal.append_all([("flag", {"place": 2}), ("flag", {"place": 3})])
    assert standing(tmp_path) == again


def test_a_record_whose_sync_fails_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalWriter(tmp_path)

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(SessionError, match="Input/output error"):
            journal.append("flag", place=0)
    later = journal.append("flag", place=1)
    assert standing(tmp_path) == [later]


def test_a_journal_is_made_with_its_first_record(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path / "journal")
    assert not journal.path.exists()
    journal.append("flag")
    assert journal.path.exists()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file, no folder")
    with pytest.raises(SessionError, match="Could not save 1 record"):
        JournalWriter(tmp_path / "journal").append("flag")


def test_a_journal_that_cannot_be_read_is_said_and_nothing_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, follower = JournalWriter(tmp_path), JournalWriter(tmp_path), JournalFollower(tmp_path)
    written = {one.append("flag").journal, other.append("flag").journal}
    opened = containment.open_binary

    def failing(path: Path, root: Path, largest: int | None = None) -> BinaryIO:
        if path.name == max(written):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, root, largest)

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "open_binary", failing)
        with pytest.raises(SessionError, match=r"Could not read the decisions in .*Input/output error"):
            follower.new_records()
    assert {record.journal for record in follower.new_records()} == written


def test_a_journal_that_is_no_regular_file_is_left_out(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path)
    journal.append("flag")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    assert [record.kind for record in JournalFollower(tmp_path).new_records()] == ["flag"]


def test_no_acknowledged_record_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    """Writers are killed at any instant, one after another; what they acknowledged must be there."""
    acknowledged: set[tuple[str, int]] = set()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for kill in range(KILLS):
        victim = writers.pop(0)
        if kill + 2 < KILLS:
            writers.append(
                subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            )
        assert victim.stdout is not None
        heard = [victim.stdout.readline() for _ in range(1 + kill % 5)]
        victim.send_signal(signal.SIGKILL)
        heard += victim.stdout.readlines()
        victim.stdout.close()
        assert victim.wait() == -signal.SIGKILL
        for line in heard:
            if line.endswith("\n"):
                name, sequence = line.split()
                acknowledged.add((name, int(sequence)))
    read = [(r.journal, r.sequence) for r in JournalFollower(tmp_path).new_records()]
    assert len(read) == len(set(read))
    assert len({name for name, _ in acknowledged}) == KILLS
    assert acknowledged <= set(read)


def test_a_clock_that_jumps_back_does_not_make_an_older_word_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = JournalWriter(tmp_path)
    monkeypatch.setattr("time.time", lambda: 5000.0)
    first.append("threshold", value=0.1)
    monkeypatch.setattr("time.time", lambda: 1000.0)
    first.append("threshold", value=0.2)
    second = JournalWriter(tmp_path)
    second.append("threshold", value=0.3)
    records = JournalFollower(tmp_path).new_records()
    assert [record.fields["value"] for record in records] == [0.1, 0.2, 0.3]
    assert [record.time for record in records] == [5000.0, 1000.0, 1000.0]
