"""What a watcher tells of the folders that it looks into."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from photon_triage.core.engine.watcher import FolderWatcher
from photon_triage.core.sources import WatchedFile
from tests.builders.detector_files import frames_of, write_plain


def test_a_watcher_tells_how_many_files_it_ignores(tmp_path: Path) -> None:
    write_plain(tmp_path / "frames", "images", frames_of(1))
    for name in ("a.log", "b.log", "README"):
        (tmp_path / name).write_text("some text that is long enough")
    found: list[str] = []
    told = threading.Event()
    watcher: FolderWatcher | None = None

    def take(files: Sequence[WatchedFile], gone: Sequence[str], over: bool) -> None:
        found.extend(Path(file.path).name for file in files)
        if watcher is not None and watcher.scans:  # the second scan: the first one's counts are there
            told.set()

    watcher = FolderWatcher([tmp_path], take)
    watcher.start()
    try:
        assert told.wait(60)
    finally:
        watcher.close()

    assert found == ["frames"]
    assert watcher.ignored == {".log": 2, "": 1}
