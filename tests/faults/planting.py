"""What somebody else could put into a session: entries that are no files, links, names, sizes, nesting, commands."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photon_triage.core.session.session import Session
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.core.session.trainings.trainings import Status, write_status
from tests.core.session.builders import build_session

HUGE = 2**40
DEEP = 100_000
Plant = Callable[["Place"], None]


@dataclass(frozen=True)
class Place:
    """A session to plant into, the folder outside of it that nothing may touch, and a program that marks it."""

    session: Path
    outside: Path

    @property
    def secret(self) -> Path:
        return self.outside / "secret"

    @property
    def program(self) -> Path:
        return self.session / "program"

    @property
    def mark(self) -> Path:
        return self.outside / "mark"


ENTRIES = (
    "recipe.toml", "results.db", "results.db-wal", "results.db-shm", "results.db-journal", "engine.log", "engine.lock",
    "engine.note", "powder.safetensors", "journal", "models", "exports", "training", "recovered", "embeddings", "em",
    "journal/a-b-1-2.jsonl", "models/planted.safetensors", "models/planted.json", "exports/planted.json",
    "training/discs", "training/discs/status.json", "training/discs/curve.jsonl", "training/discs/log",
    "training/discs/lock", "training/discs/settings.json", "training/discs/state.safetensors",
    "training/discs/trained_on.csv", "training/discs/labels.csv", "training/discs/pause", "training/discs/stop",
    "training/discs/checkpoints", "training/discs/checkpoints/000010.safetensors", "training/rounds.jsonl",
    "embeddings/order.npz", "embeddings/part-000001.npz", "embeddings/lock", "recovered/planted.h5",
)  # fmt: skip
"""What a session can hold, by its place in it."""
ALONE = tuple(
    entry
    for entry in ENTRIES
    if entry.startswith(("recipe.toml", "results.db")) or any(other.startswith(f"{entry}/") for other in ENTRIES)
)
"""Folders of others, and what most commands cannot do without: planted one at a time."""


def made(folder: Path) -> Session:
    """A session as an engine and a training have left it."""
    session = build_session(folder, {"/data/a.h5": [0.9, 0.2, None]})
    journal = session.journal("colleague")
    journal.append("flag", file="/data/a.h5", dataset="/entry_1/data_1/data", index=0)
    journal.close()
    training = folder / "training" / "discs"
    training.mkdir(parents=True)
    words = ("train", str(folder), "--name", "another")  # no command begins a process of its own
    write_status(training, Status("interrupted", "", 0, socket.gethostname(), words, str(folder)))
    (training / "settings.json").write_text("{}")
    (folder / "engine.log").write_text("an engine began\n")
    (folder / "engine.lock").touch()
    return session


def replaced(place: Place, entry: str) -> Path:
    """The path of an entry, with nothing there and its folder made."""
    path = place.session / entry
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pipe(place: Place, entry: str) -> None:
    os.mkfifo(replaced(place, entry))


def unix_socket(place: Place, entry: str) -> None:
    replaced(place, entry)
    here = Path.cwd()
    os.chdir((place.session / entry).parent)  # a socket's path may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(Path(entry).name)
    finally:
        os.chdir(here)


def link_to_device(place: Place, entry: str) -> None:
    replaced(place, entry).symlink_to("/dev/zero")


def device(place: Place, entry: str) -> None:
    """/dev/zero itself; only root may make one."""
    os.mknod(replaced(place, entry), 0o600 | 0o020000, os.makedev(1, 5))


def dangling(place: Place, entry: str) -> None:
    replaced(place, entry).symlink_to(place.outside / "not there")


def loop(place: Place, entry: str) -> None:
    path = replaced(place, entry)
    path.symlink_to(path.name)


def link_out(place: Place, entry: str) -> None:
    """To a file outside, or to a folder for what is a folder."""
    is_folder = "." not in Path(entry).name and Path(entry).name not in ("lock", "log", "pause", "stop")
    replaced(place, entry).symlink_to(place.outside if is_folder else place.secret)


def hard_link(place: Place, entry: str) -> None:
    replaced(place, entry).hardlink_to(place.secret)


def sparse(place: Place, entry: str) -> None:
    with replaced(place, entry).open("wb") as file:
        file.truncate(HUGE)


def folder(place: Place, entry: str) -> None:
    replaced(place, entry).mkdir()


def nested(place: Place, entry: str) -> None:
    """JSON and TOML that go deeper than a stack; in a journal behind a checksum that holds."""
    deep = "[" * DEEP + "]" * DEEP
    body = f'{{"seq":0,"time":1.0,"who":"x","kind":"flag","file":{deep}}}'.encode()
    lines = {
        ".jsonl": b"%08x %s\n" % (zlib.crc32(body), body) + body + b"\n",
        ".toml": f'name = "spi"\nstages = {deep}\n{".".join(["a"] * 30_000)} = 1\n'.encode(),
        ".safetensors": struct.pack("<Q", 2 * DEEP + 6) + f'{{"a":{deep}}}'.encode(),
    }
    replaced(place, entry).write_bytes(lines.get(Path(entry).suffix, deep.encode()))


KINDS: dict[str, Callable[[Place, str], None]] = {
    each.__name__: each
    for each in (pipe, unix_socket, link_to_device, device, dangling, loop, link_out, hard_link, sparse, folder, nested)
}


def plant_all(place: Place, kind: Callable[[Place, str], None]) -> None:
    """Plant one kind at every place that leaves room for the others."""
    for entry in ENTRIES:
        if entry not in ALONE:
            kind(place, entry)


def state(place: Place, **values: object) -> None:
    """What an engine would say of itself."""
    writer = ResultsWriter(place.session / "results.db")
    writer.set_state(values)
    writer.close()


def pids(place: Place) -> None:
    """The numbers of init, of everybody and of this process, where an engine's should be."""
    now = time.time()
    state(place, pid=os.getpid(), host=socket.gethostname(), status="running", heartbeat=now, started=now)
    identity = {"pid": os.getpid(), "host": socket.gethostname(), "boot": "", "began": 0, "uid": 0}
    (place.session / "engine.lock").write_text(json.dumps(identity))


def commands(place: Place) -> None:
    """Everything that could name a command names one that leaves a mark."""
    place.program.write_text(f"#!/bin/sh\ntouch {place.mark}\n")
    place.program.chmod(0o755)
    recipe = place.session / "recipe.toml"
    alarms = f"\n[alarms]\ncommand = {json.dumps([str(place.program)])}\nfiles_stop_s = 0.001\ndisk_free_gb = 1e9\n"
    recipe.write_text(recipe.read_text() + alarms)
    training = place.session / "training"
    evil = str(place.outside / "evil")
    program = str(place.program)
    for name, given in {
        "discs": ("watch", str(place.outside), "--session", evil, "--recipe", "spi", "--alarm-command", program),
        "other": ("train", str(place.session), "--images", str(place.secret), "--masks", str(place.secret)),
        "third": ("train", str(place.session), "--name", "../../../evil"),
        "fourth": ("models", "export", "hitnet-spi", "-o", evil + ".onnx"),
        "fifth": ("train", evil, "--recipe", "spi"),
        "sixth": (program,),
        "seventh": ("train", str(place.session), "--option", "cfg=" + str(place.secret), "--help"),
    }.items():
        (training / name).mkdir(exist_ok=True)
        write_status(training / name, Status("interrupted", "", 0, socket.gethostname(), given, str(place.outside)))
        (training / name / "settings.json").write_text("{}")


def names(place: Place) -> None:
    """Names and texts that steer a terminal, leave the session, are too long, or are of the wrong type."""
    for name in ("\x1b]0;evil\x07", "a\nb", "-rf", "\udcff", "x" * 240):
        (place.session / "models" / f"{name}.safetensors").write_bytes(header({"name": f"../../{name}"}))
        (place.session / "training" / name).mkdir()
        (place.session / "training" / name / "status.json").write_text('{"state": 3, "words": "train"}')
    for number, metadata in enumerate(
        ([1], {"architecture": [], "scores": 3, "name": ["x"], "parameters": 10**4000}, {"parent": "../../../etc"})
    ):
        path = place.session / "models" / f"odd{number}.safetensors"
        path.write_bytes(header(metadata))


def header(metadata: object) -> bytes:
    """A safetensors file without tensors."""
    text = json.dumps({"__metadata__": {"photon_triage": json.dumps(metadata)}}).encode()
    return struct.pack("<Q", len(text)) + text


def models(place: Place) -> None:
    """Networks of gigantic layers, and such that name files."""
    cfg = "[net]\nwidth=32\nheight=32\nchannels=1\n"
    wide = "[convolutional]\nfilters={}\nsize={}\nactivation=linear\n"
    architectures: dict[str, dict[str, Any]] = {
        "filters": {"family": "darknet", "cfg": cfg + wide.format(10**9, 3)},
        "kernel": {"family": "darknet", "cfg": cfg + wide.format(1, 10**6 + 1)},
        "padding": {"family": "darknet", "cfg": cfg + wide.format(1, 1) + f"padding={10**7}\n"},
        "input": {"family": "darknet", "cfg": cfg.replace("32", str(10**7)) + wide.format(1, 1)},
        "sections": {"family": "darknet", "cfg": cfg + wide.format(1, 1) * 10_000},
        "upsample": {"family": "darknet", "cfg": cfg + f"[upsample]\nstride={10**6}\n"},
        "path": {"family": "darknet", "cfg": str(place.secret)},
        "pipe": {"family": "darknet", "cfg": str(place.outside / "pipe")},
        "layers": {"family": "msd", "depth": 10**9},
        "maps": {"family": "msd", "depth": 1000, "width": 10**6},
        "levels": {"family": "unet", "depth": 10**6, "width": 2},
        "widths": {"family": "unet", "width": 10**6},
        "patch": {"family": "lenet", "patch": 10**6},
        "pools": {"family": "lenet", "patch": 2**19, "widths": [1] * 16, "kernels": [1] * 16},
        "rings": {"family": "radial", "bins": 10**12},
        "number": {"family": "radial", "bins": 10**400},
        "name": {"family": "unet", "name": "unet"},
        "nested": {"family": "lenet", "widths": [[1] * 10] * 10},
        "unknown": {"family": "os.system"},
    }
    for name, architecture in architectures.items():
        (place.session / "models" / f"{name}.safetensors").write_bytes(
            header({"name": name, "architecture": architecture, "classes": ["a", "b"]})
        )


def archives(place: Place) -> None:
    """Archives that unpack to far more than they have."""
    with (
        zipfile.ZipFile(place.session / "models" / "bomb.pt", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as file,
    ):
        for _ in range(256):
            file.write(bytes(2**20))
    embeddings = place.session / "embeddings"
    embeddings.mkdir()
    np.savez_compressed(embeddings / "order.npz", vectors=np.zeros(2**27, np.uint8))


def schema(place: Place) -> None:
    """A data base whose tables are views that do not end, and triggers that write."""
    db = sqlite3.connect(place.session / "results.db")
    with db:
        db.execute("ALTER TABLE files RENAME TO real_files")
        db.execute(
            "CREATE VIEW files AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS id FROM n"
        )
    db.close()


WHOLE: dict[str, Plant] = {each.__name__: each for each in (pids, commands, names, models, archives, schema)}
