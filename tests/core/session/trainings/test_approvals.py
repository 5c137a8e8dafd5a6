from __future__ import annotations

from pathlib import Path

import pytest

from photon_triage.core.session.trainings import approvals


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_a_command_is_approved_word_for_word_and_for_its_kind() -> None:
    approvals.approve("alarm", ["notify-send", "-u", "critical"])
    assert approvals.is_approved("alarm", ("notify-send", "-u", "critical"))
    assert not approvals.is_approved("alarm", ("notify-send", "-u critical"))
    assert not approvals.is_approved("alarm", ("notify-send", "-u", "critical", ""))
    assert not approvals.is_approved("training", ("notify-send", "-u", "critical"))


def test_an_approval_is_a_file_of_the_user_that_says_what_was_approved() -> None:
    approvals.approve("alarm", ["say", "\udcff\x1b"])
    approvals.approve("alarm", ["say", "\udcff\x1b"])
    (file,) = approvals.approvals_path().iterdir()
    assert file.read_text() == '["alarm", "say", "\\udcff\\u001b"]\n'
    file.unlink()
    assert not approvals.is_approved("alarm", ["say", "\udcff\x1b"])
