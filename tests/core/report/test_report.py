"""The report: what it says, and that it opens in a browser without a network, with its pictures."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photon_triage.core.common.errors import SessionError
from photon_triage.core.export import export
from photon_triage.core.frames import Box, FrameKey
from photon_triage.core.report.figures import EDGE, INVALID, thumbnail
from photon_triage.core.report.report_content import SHEET_FRAMES, gather
from photon_triage.core.session.decisions.labels import LabelWriter
from photon_triage.core.session.models.audit_estimate import draw_more
from photon_triage.core.session.store.preview import Preview
from photon_triage.tui.cli import main

from ...tui.fake_session import FakeSession, make_session

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = "run_<img src=x onerror=alert(1)>\x1b[2J.h5"
PROBE = """<script>addEventListener("load", () => {
  const shown = [...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().width]);
  const drawn = [...document.querySelectorAll("figure > svg")].map(s => s.getBoundingClientRect().height);
  const loaded = performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:"));
  document.body.insertAdjacentHTML("beforeend", "<pre id=probe></pre>");
  document.getElementById("probe").textContent = JSON.stringify({shown, drawn, loaded});
})</script>"""


def labelled_session(folder: Path) -> FakeSession:
    """Two runs with real files, some frames accepted and rejected, one in conflict."""
    fake = make_session(folder)
    fake.add_file("run_0142.h5", run="r0142", simulated=True)
    fake.add_frames(30)
    fake.add_file("run_0143.h5", run="r0143", simulated=True)
    fake.write_file(30)
    fake.run_engine()
    fake.label({index: "accepted" if index % 3 else "rejected" for index in range(12)})
    fake.label({1: "rejected"}, who="another")
    fake.close()
    return fake


@pytest.fixture
def labelled(tmp_path: Path) -> FakeSession:
    return labelled_session(tmp_path)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of such a session."""
    folder = tmp_path_factory.mktemp("report")
    written(labelled_session(folder), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def written(fake: FakeSession, folder: Path) -> str:
    path = folder / "report.html"
    with pytest.raises(SystemExit, match="0"):
        main(["report", str(fake.session.path), "-o", str(path), "--json"])
    return path.read_text(encoding="utf-8")


def test_the_page_tells_numbers_with_n_and_intervals(text: str) -> None:
    assert "precision, 0." in text and "n = 12" in text and "95 %" in text
    assert "SIMULATED DATA" in text
    assert "recall may be lower than it says" in text
    assert "People differ on 1." in text
    assert "r0142" in text and "hitnet-spi" in text


def test_the_page_holds_everything_itself(text: str) -> None:
    assert not re.search(r"""(?:src|href)\s*=\s*(?!["']?(?:data:|#))""", text)
    assert "<script" not in text and "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_what_an_audit_tells_of_all_frames_stands_first(labelled: FakeSession, tmp_path: Path) -> None:
    session = labelled.session
    draw = draw_more(session, session.labels(), 0.5, 10, seed=1)
    journal = session.journal("auditor")
    writer = LabelWriter(journal)
    for drawn in draw.frames:
        writer.decide(drawn.key, "accepted" if drawn.key.index % 2 else "rejected")
    journal.close()
    text = written(labelled, tmp_path)
    assert "Estimated for all 30 frames from 10 that were drawn at random" in text
    assert text.index("Of all frames") < text.index("Against the labels")


def test_figures_take_the_colours_of_the_page(text: str) -> None:
    assert text.count("<svg") >= 3 and "var(--first)" in text and "currentColor" in text
    assert "#010203" not in text


def test_lists_that_were_exported_stand_in_a_table(labelled: FakeSession, tmp_path: Path) -> None:
    export(labelled.session, "csv", "accepted", 0.5, labelled.session.exports_path / "mine.csv")
    (labelled.session.exports_path / "broken.json").write_text("{")
    (labelled.session.exports_path / "other.json").write_text('["no manifest"]')
    text = written(labelled, tmp_path)
    assert "mine.csv" in text and "all frames were read" in text and "broken" not in text


def test_names_from_files_are_data(tmp_path: Path) -> None:
    fake = make_session(tmp_path)
    fake.add_file(HOSTILE, run="<b>bold</b>")
    fake.add_frames(3, HOSTILE)
    fake.run_engine()
    fake.close()
    text = written(fake, tmp_path)
    assert "<img src=x" not in text and "<b>bold" not in text and "\x1b" not in text
    assert "run_&lt;img src=x onerror=alert(1)&gt;\\e[2J.h5" in text and "&lt;b&gt;bold" in text


def test_frames_that_are_gone_are_told_in_their_place(tmp_path: Path) -> None:
    fake = make_session(tmp_path)
    fake.add_frames(40)
    fake.run_engine()
    fake.close()
    text = written(fake, tmp_path)
    assert 'class="gone"' in text and "no such file" in text.lower()


def test_a_session_without_results_is_refused(tmp_path: Path) -> None:
    fake = make_session(tmp_path, results=False)
    with pytest.raises(SessionError):
        gather(fake.session)


def test_doubtful_frames_say_why_and_begin_with_where_people_differ(labelled: FakeSession) -> None:
    report = gather(labelled.session)
    reasons = [shown.why for shown in report.doubtful]
    assert reasons[0] == "conflict" and "against the score" in reasons and "near the threshold" in reasons
    assert len(reasons) <= SHEET_FRAMES
    assert {shown.verdict for shown in report.doubtful if shown.why == "near the threshold"} == {"undecided"}


def test_accepted_frames_are_drawn_alike_every_time(labelled: FakeSession) -> None:
    first, again = gather(labelled.session), gather(labelled.session)
    assert [shown.row.id for shown in first.accepted] == [shown.row.id for shown in again.accepted]
    assert {shown.row.key.index for shown in first.accepted} == {2, 4, 5, 7, 8, 10, 11}


@pytest.mark.parametrize(("shape", "size"), [((480, 960), (240, 120)), ((10, 20), (20, 10)), ((500, 1), (1, 240))])
def test_a_thumbnail_keeps_its_shape_and_is_never_enlarged(shape: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = np.ones(shape, np.float32)
    preview = Preview(FrameKey("a.h5", "", 0), pixels, np.ones(shape, bool), 0, 0, *shape)
    assert Image.open(io.BytesIO(thumbnail(preview, log=True, peaks=False))).size == size


def test_a_thumbnail_shows_boxes_and_bad_pixels() -> None:
    pixels = np.ones((100, 100), np.float32)
    valid = np.ones((100, 100), bool)
    valid[:20] = False
    preview = Preview(FrameKey("a.h5", "", 0), pixels, valid, 1000, 2000, 3000, 3000)
    made = np.asarray(Image.open(io.BytesIO(thumbnail(preview, [Box(2040, 1050, 20, 10)], log=True, peaks=False))))
    assert (made[:20] == INVALID).all()
    assert (made[50, 40:60] == EDGE).all() and (made[50:60, 40] == EDGE).all() and made[55, 50] != EDGE


@pytest.fixture(scope="module")
def browser() -> str:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return found


def browse(browser: str, profile: Path, page: Path, *options: str) -> str:
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    command = [
        browser,
        *quiet,
        "--disable-sync",
        "--disable-component-update",
        f"--user-data-dir={profile}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_it_opens_in_a_browser_with_all_its_pictures(browser: str, text: str, tmp_path: Path) -> None:
    probed = tmp_path / "probed.html"
    # The policy allows no script; the probe is the test's, not the page's.
    probed.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", f"{PROBE}</body>"))
    dom = browse(browser, tmp_path / "profile", probed, "--dump-dom")
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert found is not None
    seen = json.loads(found[1])
    assert len(seen["shown"]) == text.count("<img ") >= 10
    assert all(natural > 0 and width > 0 for natural, width in seen["shown"])
    assert len(seen["drawn"]) == text.count("<svg") >= 3 and min(seen["drawn"]) > 100
    assert seen["loaded"] == []


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_on_light_and_dark_paper(browser: str, page: Path, tmp_path: Path, dark: bool) -> None:
    picture = tmp_path / "page.png"
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    browse(browser, tmp_path / "profile", page, *scheme, "--window-size=1000,2400", f"--screenshot={picture}")
    shades = np.asarray(Image.open(picture).convert("L"))
    paper = int(np.bincount(shades.ravel()).argmax())
    assert paper < 60 if dark else paper > 220
    assert (abs(shades.astype(int) - paper) > 120).mean() > 0.01
