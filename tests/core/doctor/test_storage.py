from __future__ import annotations

import os
from pathlib import Path

import pytest

from photon_triage.core.doctor.storage import check_data, check_session, mount_of

MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/beam /asap3 nfs4 rw,actimeo=3 0 0
gpfs1 /asap3/petra3/gpfs gpfs rw 0 0
//nas/x /mnt/my\040data cifs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind", "on_network"),
    [
        ("/home/a", "ext4", False),
        ("/tmpfile", "ext4", False),
        ("/tmp/a", "tmpfs", False),
        ("/asap3/x", "nfs4", True),
        ("/asap3/petra3/gpfs/p1", "gpfs", True),
        ("/mnt/my data/run", "cifs", True),
    ],
)
def test_the_innermost_mount_holds_a_path(path: str, kind: str, on_network: bool) -> None:
    mount = mount_of(Path(path), MOUNTS)
    assert mount is not None
    assert (mount.kind, mount.on_network) == (kind, on_network)


def test_of_two_mounts_at_one_place_the_later_one_is_seen() -> None:
    mount = mount_of(Path("/data/x"), "a /data ext4 rw 0 0\nb /data nfs rw 0 0\n")
    assert mount is not None and mount.source == "b"


def test_a_local_session_is_fit_and_leaves_nothing_behind(tmp_path: Path) -> None:
    checks = check_session(tmp_path / "not" / "there", "/dev/sda1 / ext4 rw 0 0\n")
    assert [check.subject for check in checks] == ["session folder", "session space", "saving"]
    assert checks[0].state == "ok" and "on disk after" in checks[2].finding
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "state", "advice"), [("nfs4", "note", "TRUNCATE"), ("tmpfs", "problem", "lost"), ("ext4", "ok", "")]
)
def test_the_file_system_of_a_session_decides(tmp_path: Path, kind: str, state: str, advice: str) -> None:
    check = check_session(tmp_path, f"x / {kind} rw 0 0\n")[0]
    assert check.state == state
    assert advice in check.advice


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert [check.state for check in check_session(tmp_path / "session")] == ["problem"]
    tmp_path.chmod(0o700)


def test_data_that_are_not_there_are_a_problem(tmp_path: Path) -> None:
    assert check_data(tmp_path / "nowhere").state == "problem"


def test_data_on_a_network_are_listed_and_never_locked(tmp_path: Path) -> None:
    check = check_data(tmp_path, "server:/x / nfs rw 0 0\n")
    assert check.state == "note" and "once a second" in check.advice
