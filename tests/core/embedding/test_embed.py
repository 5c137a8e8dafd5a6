"""Frames become embeddings in a session's folder: all that reach the network, once, and again after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import SessionError
from photon_triage.core.embedding import embed as embedding
from photon_triage.core.embedding.embed import embed
from photon_triage.core.embedding.embedders import OfDetector
from photon_triage.core.embedding.frame_reader import BatchReader
from photon_triage.core.embedding.store import EmbeddingStore, Places, read_arrays
from photon_triage.core.frames import Batch
from photon_triage.core.prepare import preparation_for
from photon_triage.core.session.models.catalog import find_model
from photon_triage.core.session.session import Session
from photon_triage.core.stages.rings import RingSums
from photon_triage.models.common.checkpoint import load
from photon_triage.models.common.classes import EACH_FRAME
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.representation import Features
from photon_triage.models.msd import MSDNet
from photon_triage.models.nets.lenet import LeNetPatch
from photon_triage.models.nets.radial_net import RadialNet, profile_input
from photon_triage.models.nets.unet import UNet

from ...builders.detector_files import write_cxi
from ...tui.commands.test_cli import run
from ..training.loop.test_runs import HOLD
from . import builders
from .builders import LOCATED, ODD, add_file, kind_frames, kind_session, register_own


def batches(session: Session) -> list[tuple[Places, Batch]]:
    """All embedded frames, as they are read again."""
    (part,) = EmbeddingStore(session).parts()
    with BatchReader(session) as reader:
        return list(reader.read(part.places))


def joined_vectors(session: Session) -> np.ndarray:
    (part,) = EmbeddingStore(session).parts()
    return part.vectors.astype(np.float32)


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
    order = read_arrays(EmbeddingStore(session).order_path, session.path)
    assert order is not None
    _, kinds = kind_frames(60)
    index = order["index"]
    assert {*kinds[index[order["kinds"][:4]]].tolist()} == {0, 1, 2, 3}
    assert index[order["outliers"][0]] == ODD


def test_the_vectors_are_the_networks_features(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    embed(session, "small")
    (part,) = EmbeddingStore(session).parts()
    network, _ = load(find_model("small", session.models_path).path)
    assert isinstance(network, Darknet)
    prepare = preparation_for(session.recipe(), network.input_size, network.in_channels)
    ((_, batch),) = batches(session)
    with torch.no_grad():
        expected = Features(network.eval())(prepare(batch.frames, batch.valid)).numpy()
    assert np.allclose(part.vectors, expected, rtol=2e-3, atol=1e-3) and expected.std(0).max() > 0.01


@pytest.mark.parametrize(("network", "size"), [(MSDNet(3), 4), (UNet(depth=2, width=4), 4), (LeNetPatch(patch=20), 16)])
def test_slices_are_embedded_by_what_their_networks_read(
    network: MSDNet | UNet | LeNetPatch, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "RECIPE", "cryoet")
    monkeypatch.setattr("photon_triage.core.embedding.frame_reader.BYTES_AT_ONCE", 48 * 64 * 7 * 2)
    session = kind_session(tmp_path, 20, misses=0)
    register_own(session, network)
    assert embed(session, "own").features == size
    read = batches(session)
    assert [len(batch) for _, batch in read] == [7, 7, 6]
    normalised = [EACH_FRAME(frame, batch.valid)[None, None] for _, batch in read for frame in batch.frames]
    with torch.no_grad():
        expected = torch.cat([network.representation(each) for each in normalised]).numpy()
    vectors = joined_vectors(session)
    assert np.allclose(vectors, expected, rtol=2e-3, atol=1e-3) and vectors.std(0).max() > 0.01


def test_without_a_name_it_is_the_model_of_the_first_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builders, "RECIPE", "tomo")
    session = kind_session(tmp_path, 40, misses=0)
    assert embed(session, kinds_wanted=4).model == "tomo-msd"
    order = read_arrays(EmbeddingStore(session).order_path, session.path)
    assert order is not None
    kinds = kind_frames(40)[1][order["index"][order["kinds"][:4]]]
    assert {*kinds.tolist()} == {0, 1, 2, 3}


def test_profiles_are_embedded_by_what_the_radial_network_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builders, "RECIPE", LOCATED)
    session = kind_session(tmp_path, 20, misses=0)
    torch.manual_seed(0)
    network = register_own(session, RadialNet(16, 0.15, hidden=12))
    embed(session, "own")
    ((_, batch),) = batches(session)
    with torch.no_grad():
        expected = network.representation(profile_input(*RingSums(16, 0.15)(batch))).numpy()
    vectors = joined_vectors(session)
    assert np.allclose(vectors, expected, rtol=2e-3, atol=1e-3) and vectors.std(0).max() > 0.01


def test_an_interruption_within_the_network_leaves_no_frame_without_its_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = kind_session(tmp_path)
    monkeypatch.setattr("photon_triage.core.embedding.frame_reader.AT_ONCE", 10)
    whole, calls = OfDetector.__call__, []

    def interrupted(self: OfDetector, batch: Batch) -> torch.Tensor:
        calls.append(len(batch))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(self, batch)

    monkeypatch.setattr(OfDetector, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed(session, "small")
    (part,) = EmbeddingStore(session).parts()
    assert len(part.places) == len(part.vectors) == 20
    assert embed(session, "small").frames == 55


def test_what_an_interrupted_embedding_has_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = kind_session(tmp_path)
    monkeypatch.setattr("photon_triage.core.embedding.frame_reader.AT_ONCE", 10)
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


def test_a_model_that_cannot_be_taken_leaves_what_is_embedded(tmp_path: Path) -> None:
    session = kind_session(tmp_path)
    embed(session, "small")
    (tmp_path / "broken.safetensors").write_bytes(b"no model")
    with pytest.raises(ModelError):
        embed(session, str(tmp_path / "broken.safetensors"))
    assert embed(session, "small").new == 0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = kind_session(tmp_path)
    code, _, complaint = run(capsys, "embed", str(session.path))
    assert code == 1 and "Name a model with --model" in complaint
    code, printed, _ = run(capsys, "embed", str(session.path), "--model", "small", "--json")
    assert code == 0 and json.loads(printed)["frames"] == 55
    code, printed, _ = run(capsys, "embed", str(session.path), "--model", "small", "--quiet")
    assert code == 0 and "0 frames embedded with small, 55 in all" in printed
