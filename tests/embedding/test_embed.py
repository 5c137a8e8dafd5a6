"""Frames become embeddings in a session's folder: all that reach the network, once, and again after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from photon_triage.core.embedding import embed as embedding
from photon_triage.core.embedding.embed import FeatureNetwork, embed
from photon_triage.core.embedding.store import EmbeddingStore, read_arrays
from photon_triage.core.errors import SessionError
from photon_triage.core.session.models import find_model
from photon_triage.core.sources import FrameReader

from ..builders.detector_files import write_cxi
from ..training.running.test_runs import HOLD
from ..tui.test_cli import run
from .builders import ODD, add_file, kind_frames, kind_session


def embedded_indices(store: EmbeddingStore) -> list[int]:
    return sorted(int(index) for part in store.parts() for index in part.places.index)


def test_all_frames_that_reach_the_network_are_embedded_once(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    first = embed(session, "small", kinds_wanted=4)
    assert (first.new, first.frames, first.features) == (55, 55, 16)
    assert embedded_indices(EmbeddingStore(session)) == list(range(55))
    write_cxi(tmp_path / "later.cxi", kind_frames(10, 1)[0])
    add_file(session, tmp_path / "later.cxi", 10)
    second = embed(session, "small", kinds_wanted=4)
    assert (second.new, second.frames) == (10, 65)


def test_kinds_and_outliers_are_told_apart(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    embed(session, "small", kinds_wanted=4)
    order = read_arrays(EmbeddingStore(session).order_path)
    assert order is not None
    _, kinds = kind_frames(60)
    index = order["index"]
    assert {*kinds[index[order["kinds"][:4]]].tolist()} == {0, 1, 2, 3}
    assert index[order["outliers"][0]] == ODD


def test_the_vectors_are_the_networks_features(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    embed(session, "small")
    (part,) = EmbeddingStore(session).parts()
    network = FeatureNetwork(session, find_model("small", session.models_path))
    frames, _ = kind_frames(60)
    with FrameReader() as reader:
        valid = reader.mask(reader.inspect(tmp_path / "run.cxi"))
    assert valid is not None
    expected = network(np.where(valid, frames, 0)[part.places.index].astype(np.float32))
    assert np.allclose(part.vectors, expected, rtol=2e-3, atol=1e-3) and expected.std(0).max() > 0.01


def test_what_an_interrupted_embedding_has_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = kind_session(tmp_path)
    monkeypatch.setattr("photon_triage.core.embedding.reading.AT_ONCE", 10)
    monkeypatch.setattr(embedding, "PART_FRAMES", 20)

    def interrupt(done: int, planned: int) -> None:
        if done >= 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(session, "small", note=interrupt)
    assert len(embedded_indices(EmbeddingStore(session))) == 40
    torn = EmbeddingStore(session).folder / "part-000001.npz"
    torn.write_bytes(torn.read_bytes()[:100])
    assert embed(session, "small").new == 35
    assert embedded_indices(EmbeddingStore(session)) == list(range(55))


def test_most_are_spread_evenly_and_the_rest_comes_later(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    some = embed(session, "small", most=11)
    assert (some.new, some.waiting) == (11, 44)
    assert embedded_indices(EmbeddingStore(session)) == list(range(0, 55, 5))
    assert embed(session, "small").new == 44


def test_another_model_begins_anew(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    embed(session, "small")
    done = embed(session, "hitnet-spi", most=8)
    assert (done.frames, done.features, done.model) == (8, 192, "hitnet-spi")


def test_two_processes_do_not_embed_at_once(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    folder = EmbeddingStore(session).folder
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline()
        with pytest.raises(SessionError, match="another process"):
            embed(session, "small")
        holder.communicate(b"\n", timeout=10)


def test_a_file_that_is_gone_is_counted_and_not_fatal(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    add_file(session, tmp_path / "gone.cxi", 7)
    done = embed(session, "small")
    assert (done.new, done.unreadable, done.waiting) == (55, 7, 7)


def test_a_network_that_is_no_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="is no detector"):
        embed(kind_session(tmp_path), "membranes")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = kind_session(tmp_path)
    code, _, complaint = run(capsys, "embed", str(session.path))
    assert code == 1 and "Name a detector with --model" in complaint
    code, printed, _ = run(capsys, "embed", str(session.path), "--model", "small", "--json")
    assert code == 0 and json.loads(printed)["frames"] == 55
    code, printed, _ = run(capsys, "embed", str(session.path), "--model", "small", "--quiet")
    assert code == 0 and "0 frames embedded with small, 55 in all" in printed
