"""The file systems of a session and of its data: kind, space, how soon something is on disk."""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from photon_triage.core.doctor.machine import Check, State
from photon_triage.core.session.store.database import NETWORK_FILE_SYSTEMS

VOLATILE = ("tmpfs", "ramfs", "overlay")
LITTLE_SPACE, TOO_LITTLE_SPACE = 2e9, 2e8
"""Bytes free for a session, below which it is a note or a problem."""
SLOW_SYNC_S = 0.1
"""A decision waits for the disk before the screen says so; from here on an operator notices."""
SYNCS = 5


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a path lies: mount point, kind of the file system, what is mounted."""

    point: str
    kind: str
    source: str

    @property
    def on_network(self) -> bool:
        """Whether several hosts may mount it."""
        return self.kind.lower().startswith(NETWORK_FILE_SYSTEMS)

    def __str__(self) -> str:
        return f"{self.kind} ({self.source} at {self.point})"


def mount_of(path: Path, mounts: str | None = None) -> Mount | None:
    """The mount that holds a path; None where the system does not tell.

    mounts: text as in /proc/mounts, which is read if it is not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/mounts").read_text(errors="replace")
        except OSError:
            return None
    best: Mount | None = None
    for fields in (line.split() for line in mounts.splitlines()):
        if len(fields) < 3:
            continue
        mount = Mount(_unescaped(fields[1]), fields[2], _unescaped(fields[0]))
        # Of mounts at one place, the last hides the others.
        if path.is_relative_to(mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def check_session(path: Path, mounts: str | None = None) -> list[Check]:
    """Whether a session can be kept in a folder that is there or is to be made."""
    folder = _nearest(path)
    subject = "session folder"
    if not os.access(folder, os.W_OK | os.X_OK):
        return [Check(subject, "problem", f"{folder} cannot be written to", "Choose a folder that you may write to.")]
    mount = mount_of(folder, mounts)
    kind = f"{path} on {mount or 'a file system of unknown kind'}"
    checks = [Check(subject, "ok", kind)]
    if mount and mount.on_network:
        checks = [
            Check(
                subject,
                "note",
                kind,
                "Screens on other hosts can attach. results.db goes without a write-ahead log here (journal_mode "
                "TRUNCATE), and one host alone may run the engine. A local disk is faster.",
            )
        ]
    elif mount and mount.kind in VOLATILE:
        checks = [Check(subject, "problem", kind, "Labels here are lost with the machine: keep the session on a disk.")]
    return [*checks, _space(folder), _sync(folder)]


def check_data(path: Path, mounts: str | None = None) -> Check:
    """Whether frames can be watched in a folder."""
    subject = "data folder"
    if not path.exists():
        return Check(subject, "problem", f"there is no {path}", "Check the path, or make the folder before the run.")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        return Check(subject, "problem", f"{path} cannot be read", "Ask for the right to read it (group, ACL).")
    mount = mount_of(path, mounts)
    kind = f"{path} on {mount or 'a file system of unknown kind'}"
    if mount and mount.on_network:
        return Check(
            subject,
            "note",
            kind,
            "Folders are listed once a second, so no notices of changes are needed; files are never locked. New frames "
            "may show some seconds late, as the mount's attribute cache allows (NFS: actimeo).",
        )
    return Check(subject, "ok", kind)


def _space(folder: Path) -> Check:
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    finding = f"{free / 1e9:.1f} GB free"
    if facts.f_files and not facts.f_favail:
        return Check(
            "session space", "problem", f"{finding}, but no file can be made (inodes are used up)", "Clean up."
        )
    state: State = "problem" if free < TOO_LITTLE_SPACE else "note" if free < LITTLE_SPACE else "ok"
    return Check("session space", state, finding, "" if state == "ok" else "Clean up, or choose another disk.")


def _sync(folder: Path) -> Check:
    """How long it takes until a decision is on disk: the median of a few."""
    taken = []
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            for _ in range(SYNCS):
                begun = time.perf_counter()
                file.write(b"x" * 200)
                file.flush()
                os.fsync(file.fileno())
                taken.append(time.perf_counter() - begun)
    except OSError as error:
        return Check("saving", "problem", f"could not write to {folder}: {error.strerror}", "Choose another folder.")
    median = sorted(taken)[SYNCS // 2]
    finding = f"a decision is on disk after {1000 * median:.1f} ms"
    if median > SLOW_SYNC_S:
        return Check("saving", "note", finding, "Each key waits that long; a local disk is faster.")
    return Check("saving", "ok", finding)


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
