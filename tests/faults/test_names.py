"""Names that mean harm, in every command and every export, on a real terminal's line: nothing in them steers it."""

from __future__ import annotations

import csv
import os
import pty
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from photon_triage.core.common.errors import TriageError
from photon_triage.core.export import export
from photon_triage.core.export.formats import FORMATS
from photon_triage.core.session.decisions.labels import LabelWriter
from tests.builders.detector_files import frames_of, write_cxi
from tests.tui.driver import SIZES, opened
from tests.tui.fake_session import FakeSession
from tests.tui.fake_session import make_session as make_fake_session

from .engines import files, make_session, recorded, scan

Say = Callable[[str], None]
HOSTILE = [
    "run[/red]",
    "run[red]01",
    "[@click=app.quit]x[/]",
    "clip\x1b]52;c;aGk=\x07board",
    "title\x1b]0;owned\x07",
    "clear\x1b[2Jme",
    "c1\x9b31m\x9d0;x\x9c",
    "bidi\u202egpj\u2066x",
    "line\nbreak\rreturn\ttab\x0b\x0c",
    "back\x08space\x7fdelete\x00"[:-1],
    "sep\u2028line\u2029para",
    "$accent %s {x} ${HOME} `id`",
    "=cmd|' -C calc'!A0",
    "-rf",
    "quote\"and'comma,semi;",
    "space at the end ",
    "漢字" * 20,
    "e\u0301" * 30,
    "x" * 200,
    "a //0",
]
CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff]"
)
OWN_ESCAPES = re.compile(r"\x1b\[[0-9;]*[mKAG]|\x1b\[\?25[lh]")


def on_a_terminal(arguments: Sequence[str]) -> tuple[int, str]:
    """What a command writes on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-m", "photon_triage.tui", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    ) as one:
        os.close(theirs)
        said = b""
        while True:
            if select.select([ours], [], [], 60)[0]:
                try:
                    more = os.read(ours, 65536)
                except OSError:  # the other side is gone
                    break
                said += more
        one.wait(60)
    os.close(ours)
    return one.returncode, said.decode("utf-8", "surrogateescape")


def test_no_command_writes_a_control_byte_of_a_name(tmp_path: Path, figure: Say) -> None:
    data = tmp_path / "data"
    data.mkdir()
    names = [name for name in HOSTILE if "/" not in name]
    for place, name in enumerate(names):
        write_cxi(data / f"{name}.cxi", frames_of(2))
        (data / f"{name}.h5").write_bytes(b"no HDF5" * 100)
        if place % 2:
            (data / f"{name}.tif").write_bytes(b"II*\0" + bytes(40))
    session = make_session(tmp_path / f"session{HOSTILE[5]}")
    scan(session, [data], patience=0.2)
    assert len(files(session)) == 2 * len(names) + len(names) // 2 and len(recorded(session)) == len(names)
    worst = data / f"{HOSTILE[3]}.cxi"
    commands = [
        ["session", "files", str(session.path)],
        ["engine", "status", str(session.path)],
        ["inspect", str(worst)],
        ["inspect", str(worst.with_suffix(".h5"))],
        ["scan", str(data), "--session", str(session.path)],
        ["retry", str(session.path), str(worst)],
        ["metrics", str(session.path)],
        ["labels", "export", str(session.path), str(tmp_path / f"{HOSTILE[4]}.csv")],
        ["export", str(session.path), "--format", "crystfel", "--select", "all", "-o", str(tmp_path / "x.lst")],
        ["watch", str(data / f"{HOSTILE[6]}.none"), "--recipe", HOSTILE[5], "--session", str(tmp_path / HOSTILE[4])],
    ]
    steered = {}
    for arguments in commands:
        code, said = on_a_terminal(arguments)
        assert code in (0, 1, 2) and "Traceback" not in said, said
        if found := CONTROL.findall(OWN_ESCAPES.sub("", said)):
            steered[" ".join(arguments[:2])] = found
    figure(f"{len(names)} hostile names in {len(commands)} commands on a pseudo-terminal: {len(steered)} steered it")
    assert not steered


def test_every_export_carries_a_name_as_it_is_or_refuses_it(tmp_path: Path, figure: Say) -> None:
    done: Counter[str] = Counter()
    for place, name in enumerate(HOSTILE):
        (tmp_path / str(place)).mkdir()
        fake = make_fake_session(tmp_path / str(place))
        fake.add_file(name, run=name)
        fake.add_frames(2, name)
        path = fake.key(0, name).file
        for format_ in FORMATS.values():
            output = tmp_path / str(place) / f"{format_.name}{format_.suffix}"
            try:
                export(fake.session, format_.name, "all", 0.5, output, True)
            except TriageError:
                done["refused"] += 1
                assert not output.exists(), "nothing is left of what was refused"
                continue
            done["written"] += 1
            if format_.name == "crystfel":
                lines = output.read_bytes().split(b"\n")
                assert lines == [*(f"{path} //{index}".encode() for index in (0, 1)), b""]
            if format_.name == "csv":
                with output.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                assert len(rows) == 2 and not any(
                    str(cell)[:1] in "=@" for row in rows for cell in row.values() if cell
                )
                assert {row["path"].removeprefix("'") for row in rows} == {path}
        fake.close()
    figure(f"{len(HOSTILE)} hostile names in {len(FORMATS)} exports: {dict(done)}, none broken")
    assert done["written"]


@pytest.mark.parametrize("size", SIZES)
async def test_every_part_of_the_screen_shows_names_as_they_are(tmp_path: Path, size: str, figure: Say) -> None:
    fake = _hostile_session(tmp_path)
    journal = fake.session.journal(HOSTILE[3])
    LabelWriter(journal).decide(fake.key(0, HOSTILE[0]), "accepted")
    shown = 0
    async with opened(fake, SIZES[size]) as driver:
        await driver.ready()
        keys = ["a", "x", "f", "enter", "enter", "question_mark", "escape", "slash", "escape", "e", "escape", "t", "G"]
        for key in [*keys, "s", "p", "p", "tab", "tab", "tab", "u", "y"]:
            await driver.press(key)
            assert not CONTROL.search(driver.text()), key
            shown += 1
        for name in HOSTILE:
            driver.main.say(name)
            driver.main.triage.warn_unsaved(name)
            await driver.pilot.pause()
            assert not CONTROL.search(driver.text()), name
            shown += 1
    journal.close()
    fake.close()
    figure(f"{len(HOSTILE)} hostile names on the {size} screen: {shown} states, none crashed or steered it")


def _hostile_session(folder: Path) -> FakeSession:
    """A session of one frame of each name; runs, models, messages and labellers are named so too."""
    fake = make_fake_session(folder)
    for name in HOSTILE:
        fake.add_file(name, run=name)
        fake.add_frames(1, name)
    fake.run_engine(
        message=f"opened {HOSTILE[4]}", model=HOSTILE[3], host=HOSTILE[6], problems={HOSTILE[5]: HOSTILE[6]}
    )
    return fake
