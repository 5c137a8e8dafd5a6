"""A session from somebody else: nothing of it runs, nothing hangs, nothing outside of it is read or written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from photon_triage.core.session.session import Session
from tests.builders.detector_files import frames_of, make_old, write_cxi

from . import planting
from .confined import Confined, Ended, confined
from .planting import ALONE, ENTRIES, KINDS, WHOLE, Place, made, plant_all
from .scale import SOAK

Say = Callable[[str], None]
FEW = ("pipe", "link_out", "sparse")
"""Kinds that are planted one at a time."""
READ = ("models list", "training list", "engine status", "session repair", "export --format csv -o OUT/list.csv")
"""Commands that between them look at everything that can be planted one at a time."""
COMMANDS = (
    *READ, "engine stop", "session files", "models inspect planted --session", "models use SESSION planted",
    "models compare SESSION planted", "training continue SESSION discs", "training pause SESSION discs", "metrics",
    "audit --draw 1", "labels export SESSION OUT/labels.csv", "labels report", "powder -o OUT/powder.h5",
    "compare SESSION SESSION", "compare --em", "compare --checkpoints discs --last 1", "report -o OUT/report.html",
    "retry", "train --quiet --iterations 1 --name discs",
)  # fmt: skip
SLOW = (
    "models shadow SESSION planted", "models promote SESSION planted", "models rollback", "em --quiet",
    "embed --quiet", "doctor", "retry --recover", "pretrain --quiet --iterations 1 --name discs",
    "sweep --grid seed=1 --quiet",
    "weak --images OUT --masks OUT --clean-images OUT --clean-masks OUT --quiet",
    "models use SESSION SESSION/models/planted.safetensors",
)  # fmt: skip


@pytest.fixture(scope="module")
def prison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Confined]:
    with confined(tmp_path_factory.mktemp("home")) as process:
        yield process


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "session", tmp_path / "outside")
    found.outside.mkdir()
    found.secret.write_text("a secret of somebody else's")
    (tmp_path / "OUT").mkdir()
    made(found.session)
    return found


def words_of(command: str, place: Place) -> list[str]:
    """The words of a command; the session comes after its name where it does not say."""
    first, *rest = command.split()
    words = [first, *rest]
    if "SESSION" not in words:
        at = 2 if first in ("models", "training", "engine", "session", "labels") else 1
        words.insert(len(words) if words[-1] == "--session" else at, "SESSION")
    out = str(place.session.parent / "OUT")
    return [word.replace("SESSION", str(place.session)).replace("OUT", out) for word in words]


def touched(place: Place, *, may_read: bool = False) -> dict[str, tuple[object, ...]]:
    """What would change outside of the session if it were read or written, where times of reading are kept."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([place.outside, *place.outside.rglob("*")]):
        told = path.lstat()
        found[str(path)] = (told.st_size, told.st_mtime_ns, told.st_mode, may_read or told.st_atime_ns)
    return found


def long_ago(place: Place) -> None:
    """Set the times of what is outside so that reading it changes one."""
    for path in (*place.outside.rglob("*"), place.outside):
        os.utime(path, ns=(1, path.lstat().st_mtime_ns))


def wrong(ended: Ended) -> bool:
    return ended.code not in (0, 1, 2) or "Traceback" in ended.output


def run_all(prison: Confined, place: Place, commands: Sequence[str], *, may_read: bool = False) -> float:
    """Run commands on a session; fails where one hangs, crashes or touches what is outside. Returns the longest."""
    long_ago(place)
    before, longest = touched(place, may_read=may_read), 0.0
    for command in commands:
        ended = prison.run(*words_of(command, place))
        assert ended.code is not None, f"{command} does not end: {ended.output}"
        assert not wrong(ended), f"{command} ended with {ended.code}: {ended.output}"
        assert touched(place, may_read=may_read) == before, f"{command} touched what is outside: {ended.output}"
        assert may_read or "a secret of" not in ended.output
        longest = max(longest, ended.seconds)
    return longest


def plant(kind: Callable[[Place, str], None], place: Place, entry: str) -> None:
    try:
        kind(place, entry)
    except PermissionError:
        pytest.skip("this account may make no devices")


@pytest.mark.parametrize("kind", KINDS)
def test_entries_that_are_no_files_cost_a_line_each(prison: Confined, place: Place, kind: str, figure: Say) -> None:
    try:
        plant_all(place, KINDS[kind])
    except PermissionError:
        pytest.skip("this account may make no devices")
    commands = COMMANDS + (SLOW if SOAK > 1 else ())
    # To read a hard link cannot be told from reading a file of the session's own: it is one.
    longest = run_all(prison, place, commands, may_read=kind == "hard_link")
    screen = prison.run("attach", str(place.session), "--read-only", screen=True)
    assert screen.code is not None and "Traceback" not in screen.output, screen.output
    figure(
        f"{kind} at {len(ENTRIES) - len(ALONE)} places of a session: {len(commands)} commands, {longest:.1f} s at most"
    )


@pytest.mark.parametrize(("kind", "entry"), [*product(KINDS if SOAK > 1 else FEW, ALONE), ("nested", "recipe.toml")])
def test_an_entry_that_others_need_is_refused_and_nothing_else(
    prison: Confined, place: Place, kind: str, entry: str
) -> None:
    plant(KINDS[kind], place, entry)
    run_all(prison, place, COMMANDS + SLOW if SOAK > 1 else READ)


@pytest.mark.parametrize("name", WHOLE)
def test_a_planted_session_is_read_and_nothing_of_it_runs(
    prison: Confined, place: Place, name: str, figure: Say
) -> None:
    WHOLE[name](place)
    models = [f"models inspect {path.stem} --session" for path in (place.session / "models").glob("[a-z]*.safetensors")]
    trainings = [f"training continue SESSION {path.name}" for path in (place.session / "training").glob("[a-z]*")]
    longest = run_all(prison, place, (*COMMANDS, *models, *trainings))
    figure(f"a session with planted {name}: {longest:.1f} s at most")
    assert not place.mark.exists() and not (place.outside / "evil").exists()


def test_a_dangling_link_leaves_the_other_models_listed(prison: Confined, place: Place) -> None:
    (place.session / "models" / "gone.safetensors").symlink_to(place.outside / "gone.safetensors")
    (place.session / "models" / "own.safetensors").write_bytes(planting.header({"name": "own"}))
    ended = prison.run("models", "list", str(place.session))
    assert ended.code == 0 and ended.output.count("Skipped") == 1
    assert "own" in ended.output and "hitnet-spi" in ended.output


@pytest.mark.parametrize("kind", FEW)
def test_an_engine_on_a_planted_session_stays_in_it(prison: Confined, place: Place, kind: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_old(write_cxi(data / "run.cxi", frames_of(2, shape=(160, 640))), 1000)  # the recipe's region lies in it
    plant_all(place, KINDS[kind])
    KINDS[kind](place, "recovered")
    for needed in ("engine.lock", "engine.log"):  # without them there is no engine
        planting.replaced(place, needed)
    long_ago(place)
    before = touched(place)
    ended = prison.run("scan", str(data), "--session", str(place.session), "--quiet", "--patience", "1")
    assert ended.code == 0, ended.output
    assert touched(place) == before and not place.mark.exists()


def test_a_recipe_s_command_runs_only_once_it_is_approved(
    prison: Confined, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    planting.commands(place)
    recipe = Session.open(place.session).recipe_path
    scan = ["scan", str(data), "--session", str(place.session), "--quiet", "--patience", "0"]

    def runs(*options: str) -> bool:
        place.mark.unlink(missing_ok=True)
        ended = prison.run(*scan, *options)
        assert ended.code == 0, ended.output
        if not place.mark.exists():
            assert "Not run for alarms" in ended.output and "--approve-commands" in ended.output
        return place.mark.exists()

    assert not runs() and runs("--approve-commands") and runs()
    recipe.write_text(recipe.read_text().replace("1e9", "1e8"))
    assert runs(), "another threshold asks again"
    recipe.write_text(recipe.read_text().replace('/program"]', '/program", "more"]'))
    assert not runs(), "another command was not approved"


def test_no_process_is_stopped_but_the_engine(prison: Confined, place: Place) -> None:
    holding = (
        "import fcntl, os, sys\n"
        "file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    lock = str(place.session / "engine.lock")
    command = [sys.executable, "-c", holding, lock]
    victim = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert victim.stdout is not None
        victim.stdout.readline()
        planting.pids(place)
        planting.state(place, pid=victim.pid)
        ended = prison.run("engine", "stop", str(place.session))
        assert ended.code == 1 and "no process of this host" in ended.output
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.communicate()


@pytest.mark.parametrize("kind", ["pipe", "link_to_device", "sparse"])
@pytest.mark.parametrize("suffix", [".pt", ".weights", ".safetensors", ".cfg"])
def test_what_is_imported_is_a_file_of_a_size(prison: Confined, place: Place, kind: str, suffix: str) -> None:
    KINDS[kind](place, f"planted{suffix}")
    path = str(place.session / f"planted{suffix}")
    given = {".pt": ["--family", "unet"], ".weights": ["--cfg", "hitnet"], ".safetensors": ["--family", "unet"]}
    words = ["models", "inspect", path] if suffix == ".cfg" else ["models", "import", path, *given[suffix], "-o", "x"]
    ended = prison.run(*words)
    assert ended.code == 1 and not wrong(ended), ended.output
    assert any(text in ended.output for text in ("not a regular file", "at most")), ended.output


def test_an_archive_of_extreme_compression_is_refused(prison: Confined, place: Place) -> None:
    planting.archives(place)
    bomb = str(place.session / "models" / "bomb.pt")
    ended = prison.run("models", "import", bomb, "--family", "unet", "-o", "x.safetensors")
    assert ended.code == 1 and "unpack to 268,435,456" in ended.output, ended.output
