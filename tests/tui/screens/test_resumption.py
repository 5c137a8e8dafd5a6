"""What of a command in a training's folder is given again."""

from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.common.errors import SessionError
from photon_triage.core.session.trainings.trainings import Status, Training
from photon_triage.tui.resumption import approve_begun, resumption


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def training(tmp_path: Path, *words: str, cwd: str = "/somewhere") -> Training:
    folder = tmp_path / "session" / "training" / "discs"
    folder.mkdir(parents=True)
    status = Status("interrupted", words=words, cwd=cwd)
    return Training("discs", folder, "interrupted", "", status, (), 0.0)


def test_the_command_is_built_anew_for_its_session_and_name(tmp_path: Path) -> None:
    given = training(tmp_path, "train", "/elsewhere", "--from", "labels", "--rate=1e-3", "--anew", "--quiet")
    command = resumption(given)
    session = tmp_path / "session"
    assert command.words == (
        "train", str(session), "--from=labels", "--rate=1e-3", "--quiet", "--name=discs",
    )  # fmt: skip
    assert command.cwd == session and command.allowed


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("watch", "/data", "--session", "S"),
        ("models", "import", "x"),
        ("sweep", "S"),
        ("demo",),
        ("--help",),
        ("train", "S", "--alarm-command", "sh"),
        ("train", "S", "--help"),
        ("train", "S", "-o", "x"),
        ("train", "S", "--seed", "a"),
        ("train", "S", "--quiet=yes"),
        ("train", "S", "--", "x"),
        ("train", "S", "other"),
        ("train",),
        ("train", "S", "--name", "other"),
        ("train", "S", "--name", "../../discs"),
    ],
)
def test_anything_but_a_training_of_that_name_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(SessionError, match="Could not go on"):
        resumption(training(tmp_path, *words))


@pytest.mark.parametrize(
    "option",
    ["--images=raw", "--points=/etc/passwd", "--validate=/other", "--init=../net.safetensors", "--model=net.cfg",
     "--recipe=./mine.toml"],
)  # fmt: skip
def test_files_outside_of_the_session_need_an_approval(
    tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("train", "session", option)
    given = training(tmp_path, *words, cwd=str(tmp_path))
    assert not resumption(given).allowed
    approve_begun(words)
    assert resumption(given).allowed and resumption(given).cwd == tmp_path
    monkeypatch.chdir("/")
    approve_begun(("train", "session", "--seed", "3"))
    assert len(list((tmp_path / "config").rglob("*.json"))) == 1


def test_files_of_the_session_need_none(tmp_path: Path) -> None:
    inside = str(tmp_path / "session" / "models" / "net.safetensors")
    assert resumption(training(tmp_path, "train", "S", "--init", inside)).allowed


def test_a_numbered_round_is_resumed_by_its_root(tmp_path: Path) -> None:
    folder = tmp_path / "session" / "training" / "weak-3"
    folder.mkdir(parents=True)
    words = ("weak", "S", "--images", "a", "--masks", "b", "--clean-images", "c", "--clean-masks", "d")
    given = Training("weak-3", folder, "interrupted", "", Status("interrupted", words=words, cwd="/"), (), 0.0)
    assert "--name=weak-3" not in resumption(given).words
    assert resumption(given).files == ("a", "b", "c", "d")
