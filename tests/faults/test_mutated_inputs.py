"""Recipes, label tables, results, journals, cfgs and weights with something wrong in them: words, and no traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from photon_triage.core.candidates import Candidate
from photon_triage.core.common.errors import SourceError
from photon_triage.core.compare import KnownFrames, load_list
from photon_triage.core.frames import Box
from photon_triage.core.recipe import parse_recipe, recipe_text, shipped_recipes
from photon_triage.core.session.decisions.audit_draws import draw_audit, record_draw
from photon_triage.core.session.decisions.labels import LabelWriter, Subject
from photon_triage.core.session.models.catalog import shipped_models
from photon_triage.core.session.session import Session
from photon_triage.core.session.store.filters import AUDIT
from photon_triage.core.session.store.preview import Previewer
from photon_triage.core.session.store.rows import ClassMap, Detection, FrameResult
from photon_triage.core.session.store.writer import ResultsWriter
from photon_triage.models.common.checkpoint import save
from photon_triage.models.darknet.darknet import Darknet, shipped_cfg
from photon_triage.models.darknet.detector import Detector, load_detector
from photon_triage.models.files.model_file import open_cfg, open_foreign, open_network
from photon_triage.models.files.summary import summarise
from photon_triage.tui.commands import engine, export, labels, metrics, models, report, session
from photon_triage.tui.commands import metrics as audit
from photon_triage.tui.commands import models as networks
from photon_triage.tui.snapshot.snapshot import ListSpec, Request
from photon_triage.tui.snapshot.snapshot_builder import SnapshotBuilder

from ..core.session.builders import file_row, key
from ..models.builders import SMALL, TINY, with_random_weights
from .input_mutants import edit_data_base, mutate_journal, mutate_json, mutate_text
from .mutants import mutate
from .outcomes import outcome
from .scale import scaled

Say = Callable[[str], None]
SEED = int(os.environ.get("PHOTON_TRIAGE_SEED", "1"))
SMALL_RUN, SOAK_RUN = 4, 1000
FILES = {"/data/a.cxi": 6, "/data/b.cxi": 4}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory, where there is one: every repair waits for its disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and sees nothing of the input: drawing, frames, shipped networks, a width's search."""
    no_labels: Callable[..., int] = lambda *_: 0  # noqa: E731 - it is patched in twice
    monkeypatch.setattr("photon_triage.core.audit.estimate.labels_needed", no_labels)
    monkeypatch.setattr("photon_triage.tui.snapshot.comparison_view.labels_needed", no_labels)
    monkeypatch.setattr("photon_triage.core.report.figures._svg", lambda *_: "")
    monkeypatch.setattr(Previewer, "load", _no_frame)
    monkeypatch.setattr("photon_triage.core.training.data.examples.read_pixels", lambda *_, **__: iter(()))
    for user in ("core.engine.networks", "core.training.evaluation.representativeness"):
        monkeypatch.setattr(f"photon_triage.{user}.load_detector", _detector)


def _detector(path: Path) -> Detector:
    """A shipped one is read once."""
    return _shipped(path) if path in {entry.path for entry in shipped_models().values()} else load_detector(path)


_shipped = cache(load_detector)


def _no_frame(*_: object, **__: object) -> None:
    raise SourceError("Could not read: this test has no frames.")


def survives(
    figure: Say, kind: str, attempt: Callable[[random.Random], Iterator[tuple[str, Callable[[], Any]]]]
) -> None:
    """Try many mutants of a kind; `attempt` makes one and gives what is done with it, by name."""
    count, done, failures = scaled(SMALL_RUN, SOAK_RUN), 0, []
    for number in range(count):
        rng = random.Random(f"{SEED} {kind} {number}")
        for name, work in attempt(rng):
            done += 1
            if trace := outcome(work):
                failures.append(f"{kind} {number}, {name}:\n{trace}")
    figure(f"{count} mutated {kind}: {done} commands, {len(failures)} ended in a traceback or hung")
    assert not failures, f"{len(failures)} of {done}\n" + "\n".join(failures[:6])


def make_session(folder: Path, recipe: str) -> Session:
    """Two files read, one with a gap, boxes and candidates and a mask on frames, labels, a draw, two models' scores."""
    made = Session.create(folder, recipe_text(recipe), recipe)
    with closing(ResultsWriter(made.results_path)) as writer:
        for path, frames in FILES.items():
            file_id = writer.put_file(file_row(path, frames + 1))
            results = [
                FrameResult(
                    index, 3, True, 0.1 + index / 10, "hitnet-spi", f"{path}{index}", {"photons": 10.0, "spots": 3.0},
                    (Detection("single", 0.9, Box(1, 1, 4, 4)),), (Candidate(3, 4, 0.7), Candidate(8, 9, 0.2)),
                    ClassMap(torch.zeros(16, 16, dtype=torch.uint8).numpy(), ("a", "b")),
                )
                for index in range(frames)
            ]  # fmt: skip
            writer.put_frames(file_id, [*results[:2], *results[3:], FrameResult(frames, 0, False)], now=1.7e9)
            writer.put_shadow(file_id, "other", [(1, 0.8, [Candidate(3, 4, 0.9)])])
        writer.set_state(
            {
                "status": "running", "heartbeat": 1.7e9, "pid": os.getpid(), "host": "elsewhere", "rate_hz": 1.0,
                "lag_s": 0.5, "queue": 3, "passed_over": 0, "model": "hitnet-spi", "models": {"classify": "hitnet-spi"},
                "shadow": "other", "shadow_scored": 2, "device": "cpu", "workers": 2, "message": "", "stalled_s": None,
                "problems": {"/data": "gone"}, "paths": ["/data"], "moved": 1, "replaced": 1, "retried": ["x"],
                "alarms": [{"kind": "rate", "text": "low", "since": 1.7e9}],
            }
        )  # fmt: skip
    with closing(made.journal("ada")) as journal:
        decide = LabelWriter(journal)
        decide.decide(key("/data/a.cxi", 0), "accepted", category="single", digest="/data/a.cxi0")
        decide.decide_all([Subject(key("/data/a.cxi", 1)), Subject(key("/data/b.cxi", 1).at(3, 4))], "rejected")
        decide.flag(key("/data/a.cxi", 1), flagged=True)
        decide.undo()
        decide.set_threshold(0.4)
        decide.queue = AUDIT
        decide.decide(key("/data/b.cxi", 0), "accepted")
        with closing(made.results()) as reader:
            drawn = draw_audit(reader.frames(), (), {}, threshold=0.4, more=3, seed=1)
        record_draw(journal, drawn)
        decide.decide_all([Subject(frame.key) for frame in drawn.frames], "accepted")
    with closing(made.journal("grace")) as journal:
        LabelWriter(journal).decide(key("/data/a.cxi", 0), "rejected")
    with closing(sqlite3.connect(made.results_path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    return made


def commands(path: Path, out: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything that reads a session, by name."""
    yield "report", lambda: report.report(path, out / "report.html")
    yield "metrics", lambda: metrics.metrics(path)
    yield "labels export", lambda: labels.export_labels(path, out / "labels.csv")
    yield "labels import", lambda: labels.import_labels(path, out.parent / "table.csv", "ada")
    yield "labels report", lambda: labels.report_labels(path, None)
    yield "export csv", lambda: export.export(path, "csv", export.SelectionName.both, out / "list.csv", incomplete=True)
    yield (
        "export crystfel",
        lambda: export.export(path, "crystfel", export.SelectionName.all, out / "l.lst", incomplete=True),
    )
    yield "audit", lambda: audit.audit(path, curve=True)
    yield "models list", lambda: models.list_models(path)
    yield "models use", lambda: models.use(path, "hitnet-spi")
    yield "engine status", lambda: engine.status(path)
    yield "session files", lambda: session.files(path)
    yield "screen", lambda: _snapshots(path)
    yield "session repair", lambda: session.repair(path)
    yield "engine", lambda: _ledger(path)


def _snapshots(path: Path) -> None:
    builder = SnapshotBuilder(Session.open(path))
    try:
        for order in ("score", "newest", "uncertain", "disagree", AUDIT):
            for shown in ("hits", "all", "flagged"):
                shot = builder.build(Request(ListSpec(order, shown), serial=len(order) + len(shown), runs=True))
        assert shot.time
    finally:
        builder.close()


def _ledger(path: Path) -> None:
    """What an engine reads when it begins."""
    with closing(ResultsWriter(Session.open(path).results_path)) as writer:
        list(writer.ledger())
        writer.state()
        writer.missing.hits_without_digest()


@pytest.fixture(scope="module", params=["spi", "cryoet"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session that is sound, to be copied."""
    return make_session(tmp_path_factory.mktemp(request.param) / "session", request.param).path


def copied(whole: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the session and an empty folder for what is written."""
    for name in ("session", "out"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "table.csv").write_text(
        "file,dataset,index,verdict\n/data/a.cxi,,1,accepted\n/data/b.cxi,,0,rejected\n"
    )
    shutil.copytree(whole, tmp_path / "session")
    return tmp_path / "session", tmp_path / "out"


def test_a_sound_session_passes_every_command(whole: Path, tmp_path: Path) -> None:
    path, out = copied(whole, tmp_path)
    for name, work in commands(path, out):
        assert not outcome(work), name
    assert not list(path.glob("results-damaged*")) and (out / "report.html").exists()


@pytest.mark.usefixtures("fast")
def test_results_that_were_edited(whole: Path, tmp_path: Path, figure: Say) -> None:
    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path, out = copied(whole, tmp_path)
        told = edit_data_base(path / "results.db", rng)
        yield from ((f"{name} ({told})", work) for name, work in commands(path, out))

    survives(figure, f"results.db by value, {whole.parent.name[:-1]}", attempt)


@pytest.mark.usefixtures("fast")
def test_results_with_damaged_bytes(whole: Path, tmp_path: Path, figure: Say) -> None:
    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path, out = copied(whole, tmp_path)
        results = path / "results.db"
        results.write_bytes(mutate(results.read_bytes(), rng))
        yield from commands(path, out)

    survives(figure, f"results.db by bytes, {whole.parent.name[:-1]}", attempt)


@pytest.mark.usefixtures("fast")
def test_journals(whole: Path, tmp_path: Path, figure: Say) -> None:
    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path, out = copied(whole, tmp_path)
        for journal in (path / "journal").glob("*.jsonl"):
            content = journal.read_bytes()
            journal.write_bytes(mutate_journal(content, rng) if rng.random() < 0.8 else mutate(content, rng))
        yield from commands(path, out)

    survives(figure, f"journals, {whole.parent.name[:-1]}", attempt)


@pytest.mark.usefixtures("fast")
def test_recipes(tmp_path: Path, figure: Say) -> None:
    texts = [recipe_text(name) for name in shipped_recipes()]
    whole = make_session(tmp_path / "whole", "spi").path

    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        text = mutate_text(rng.choice(texts), rng)
        yield "parse", lambda: parse_recipe(text, "x.toml")
        path, out = copied(whole, tmp_path)
        content = text.encode() if rng.random() < 0.8 else mutate(text.encode(), rng)
        (path / "recipe.toml").write_bytes(content)
        yield from commands(path, out)

    survives(figure, "recipes", attempt)


@pytest.mark.usefixtures("fast")
def test_label_tables(tmp_path: Path, figure: Say) -> None:
    whole = make_session(tmp_path / "whole", "cryoet")
    known = KnownFrames.of(whole)
    rows = "".join(
        f"/data/a.cxi,/entry_1/data_1/data,{n},accepted,single,ada,2026-03-01T12:00:00Z,3,4\n" for n in range(6)
    )
    table = f"file,dataset,index,verdict,class,who,time,x,y\n{rows}"
    tables = [table, table.replace(",", ";"), table.replace(",", "\t"), "sep=;\n" + table.replace(",", ";")]
    lists = [*tables, "".join(f"/data/a.cxi //{n}\n" for n in range(6)), "0\n1\n1\n", "/data/a.cxi // 00003\n"]

    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path, _ = copied(whole.path, tmp_path)
        content = mutate_text(rng.choice(lists), rng).encode("utf-8", "surrogatepass")
        content = content if rng.random() < 0.7 else mutate(content, rng)
        (tmp_path / "table.csv").write_bytes(content)
        yield "labels import", lambda: labels.import_labels(path, tmp_path / "table.csv")
        yield "labels import from 1", lambda: labels.import_labels(path, tmp_path / "table.csv", first_index=1)
        yield "metrics", lambda: metrics.metrics(path, tmp_path / "table.csv")
        yield "labels export", lambda: labels.export_labels(path, tmp_path / "out" / "labels.csv")
        yield "a list", lambda: load_list(tmp_path / "table.csv", known)

    survives(figure, "label tables", attempt)


def test_cfgs(tmp_path: Path, figure: Say) -> None:
    texts = [SMALL, shipped_cfg("hitnet"), shipped_cfg("residual-1class"), shipped_cfg("yolov2-voc-1class")]

    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path = tmp_path / "x.cfg"
        content = mutate_text(rng.choice(texts), rng).encode("utf-8", "surrogatepass")
        path.write_bytes(content if rng.random() < 0.8 else mutate(content, rng))

        def build() -> None:
            with torch.device("meta"):
                summarise(open_cfg(str(path), {}, None).model)

        yield "build", build

    survives(figure, "cfg", attempt)


def test_darknet_weights(tmp_path: Path, figure: Say) -> None:
    (tmp_path / "x.cfg").write_text(SMALL)
    with_random_weights(Darknet.from_cfg(SMALL)).save_weights(tmp_path / "whole.weights")
    content = (tmp_path / "whole.weights").read_bytes()

    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path = tmp_path / "x.weights"
        path.write_bytes(mutate(content, rng))
        yield "open", lambda: open_cfg(str(tmp_path / "x.cfg"), {}, path)
        yield (
            "import",
            lambda: networks.import_network(path, str(tmp_path / "x.cfg"), output=tmp_path / "o.safetensors"),
        )

    survives(figure, "weights", attempt)


@pytest.mark.usefixtures("fast")
def test_checkpoints(tmp_path: Path, figure: Say) -> None:
    whole = make_session(tmp_path / "whole", "spi").path
    families = {family: open_network(family, options).model for family, options in TINY.items() if family != "darknet"}
    families["darknet"] = Darknet.from_cfg(SMALL)
    facts = {"name": "x", "scores": {"f1": 0.5, "f1_interval": [0.4, 0.6], "n": 9}, "data": {"trained_on": "a"}}
    facts |= {"classes": ["single", "multiple"], "parent": "p", "input": {"normalise": "frame"}}

    def attempt(rng: random.Random) -> Iterator[tuple[str, Callable[[], Any]]]:
        path, _ = copied(whole, tmp_path)
        family = rng.choice(sorted(families))
        model = save(path / "models" / "x.safetensors", families[family], facts)
        beside = model.with_suffix(".json")
        content, metadata = model.read_bytes(), json.loads(beside.read_text())
        changed = mutate_json(metadata, rng)
        if rng.random() < 0.5:
            model.write_bytes(mutate(content, rng))
        else:
            model.write_bytes(_with_metadata(content, changed))
        beside.write_text(json.dumps(changed) if rng.random() < 0.8 else mutate_text(json.dumps(metadata), rng))
        yield "inspect", lambda: networks.inspect(str(model))
        yield "inspect by name", lambda: networks.inspect("x", path)
        yield "models list", lambda: models.list_models(path)
        yield "models use", lambda: models.use(path, "x")
        yield "models import", lambda: networks.import_network(model, output=tmp_path / "out" / "y.safetensors")
        yield "models export", lambda: networks.export_network(str(model), tmp_path / "out" / "y.safetensors")
        yield "its tensors", lambda: open_foreign(model, family, TINY[family])
        yield "report", lambda: report.report(path, tmp_path / "out" / "report.html")

    survives(figure, "safetensors", attempt)


def _with_metadata(content: bytes, metadata: Any) -> bytes:
    """A safetensors file whose metadata are others."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {"photon_triage": json.dumps(metadata)}
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + length :]
