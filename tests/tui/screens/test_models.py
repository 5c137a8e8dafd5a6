from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from photon_triage.core.recipe import recipe_text
from photon_triage.core.session.models.catalog import models_in_use, session_models, shipped_models
from photon_triage.core.session.session import Session
from photon_triage.models import create
from photon_triage.models.common import checkpoint
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.files import onnx_export
from photon_triage.tui.commands.training_options import parse_options

from ...core.session.builders import build_session
from ...models.builders import SMALL, with_random_weights
from ..commands.test_cli import MODULES_AFTER, run

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def network(tmp_path: Path) -> Darknet:
    """A small network beside its files: small.cfg, small.weights, small.safetensors."""
    (tmp_path / "small.cfg").write_text(SMALL)
    network = with_random_weights(Darknet.from_cfg(SMALL))
    network.save_weights(tmp_path / "small.weights")
    metadata = {"name": "small", "parent": "big", "scores": {"f1": 0.5, "f1_interval": [0.25, 0.75], "n": 12}}
    checkpoint.save(tmp_path / "small.safetensors", network, metadata | {"data": {"trained_on": 99}})
    return network


def done(capsys: Capture, *arguments: object) -> str:
    code, out, err = run(capsys, "models", *map(str, arguments))
    assert (code, err) == (0, "")
    return out


def refused(capsys: Capture, code: int, *arguments: object) -> str:
    found, out, err = run(capsys, "models", *map(str, arguments))
    assert (found, out) == (code, "")
    return err


@pytest.mark.parametrize("command", ["inspect", "import", "export", "list", "shadow", "compare", "promote", "rollback"])
def test_help_loads_no_torch(command: str) -> None:
    call = [sys.executable, "-c", MODULES_AFTER, "models", command, "--help"]
    finished = subprocess.run(call, capture_output=True, text=True, check=True, timeout=60)
    assert "torch" not in finished.stderr.split()


def test_list_counts_parameters(capsys: Capture) -> None:
    (shipped,) = (model for model in json.loads(done(capsys, "list", "--json")) if model["name"] == "hitnet-spi")
    assert (shipped["family"], shipped["parameters"]) == ("darknet", Darknet.from_cfg("hitnet").parameter_count())
    assert "894,964" in done(capsys, "list")
    assert shipped["evaluated_on"] == "simulated data held out of training"


def test_f1_stands_beside_what_it_was_measured_on(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    session, told = build_session(tmp_path / "s", {}), "40 ranked labels held out of training"
    metadata = {"name": "mine", "scores": {"f1": 0.8, "n": 40}, "data": {"evaluated_on": told}}
    path = checkpoint.save(session.models_path / "mine.safetensors", network, metadata)
    (line,) = (line for line in done(capsys, "list", session.path).splitlines() if line.split()[0] == "mine")
    assert line.endswith(f"0.800 (n = 40) on {told}")
    (line,) = (line for line in done(capsys, "inspect", path).splitlines() if line.startswith("score: f1"))
    assert line.endswith(f"0.800 on {told}")


def test_inspect_a_checkpoint(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    out = done(capsys, "inspect", tmp_path / "small.safetensors")
    facts = dict(line.split(None, 1) for line in out.splitlines() if line.startswith(("parameters", "input", "parent")))
    assert facts == {"parameters": str(network.parameter_count()), "input": "3 x 32 x 32", "parent": "big"}
    assert "0.500 (0.250 to 0.750)" in out and "trained_on 99" in out
    assert str(network.layer_table()[2]) in out


def test_inspect_as_json(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    found = json.loads(done(capsys, "inspect", tmp_path / "small.safetensors", "--size", "64x32", "--json"))
    assert (found["name"], found["family"], found["input"]) == ("small", "darknet", [3, 64, 32])
    assert found["gmac"] == pytest.approx(2 * network.gmac())
    assert len(found["layers"]) == 5 and found["metadata"]["scores"]["n"] == 12


def test_inspect_a_shipped_model_by_name(capsys: Capture) -> None:
    assert json.loads(done(capsys, "inspect", "hitnet-spi", "--json"))["place"].startswith("shipped, ")


def test_inspect_a_cfg_with_weights(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    out = done(capsys, "inspect", tmp_path / "small.cfg", "--weights", tmp_path / "small.weights")
    assert "3 convolutions loaded" in out


def test_inspect_an_architecture(capsys: Capture) -> None:
    options = ["--option", "depth=100", "--option", "in_channels=3", "--option", "out_channels=11"]
    found = json.loads(done(capsys, "inspect", "msd", *options, "--json"))
    assert found["parameters"] == 48_494


def test_import_darknets_weights_into_a_session(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    session = build_session(tmp_path / "s", {})
    arguments = ["import", tmp_path / "small.weights", "--cfg", tmp_path / "small.cfg", "--session", session.path]
    out = done(capsys, *arguments, "--class-names", "single,multiple", "--name", "seeds")
    assert "3 convolutions loaded" in out
    entry = session_models(session.models_path)["seeds"]
    loaded, metadata = checkpoint.load(entry.path)
    torch.testing.assert_close(dict(loaded.state_dict()), dict(network.state_dict()))
    assert metadata["classes"] == ["single", "multiple"] and metadata["source"].endswith("small.weights")
    listed = json.loads(done(capsys, "list", session.path, "--json"))
    assert [model["source"] for model in listed if model["name"] == "seeds"] == [metadata["source"]]
    assert "seeds" in done(capsys, "inspect", "seeds", "--session", session.path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_import_tensors_of_an_architecture(tmp_path: Path, suffix: str, capsys: Capture) -> None:
    from safetensors.torch import save_file

    model = create("lenet", patch=16, kernels=[3, 3], hidden=[6])
    save: Any = torch.save if suffix == ".pt" else save_file
    save(model.state_dict(), tmp_path / f"foreign{suffix}")
    options = [word for option in ("patch=16", "kernels=3,3", "hidden=[6]") for word in ("--option", option)]
    out = tmp_path / "own.safetensors"
    done(capsys, "import", tmp_path / f"foreign{suffix}", "--family", "lenet", *options, "-o", out)
    torch.testing.assert_close(dict(checkpoint.load(out)[0].state_dict()), dict(model.state_dict()))


def test_import_takes_a_checkpoint_as_it_is(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    session = build_session(tmp_path / "s", {})
    done(capsys, "import", tmp_path / "small.safetensors", "--session", session.path)
    assert session_models(session.models_path)["small"].metadata["parent"] == "big"


def test_refused_pickle_can_be_converted_as_the_hint_says(tmp_path: Path, capsys: Capture) -> None:
    torch.save(create("msd", depth=3).state_dict(), tmp_path / "net.pt")
    err = refused(capsys, 1, "inspect", tmp_path / "net.pt")
    command = err[err.index("photon-triage models import") :].split()
    filled = [{"NAME": "msd", "KEY=VALUE": "depth=3"}.get(word, word) for word in command[2:]]
    done(capsys, *filled)
    assert "msd" in done(capsys, "inspect", tmp_path / "net.safetensors")


def test_options_are_numbers_lists_and_words() -> None:
    given = ["depth=3", "rate=1e-3", "widths=6,16", "kernels=[5, 3]", "pooling=max", "norm=null", "cfg=a=b"]
    expected = {"depth": 3, "rate": 0.001, "widths": [6, 16], "kernels": [5, 3], "pooling": "max", "norm": None}
    assert parse_options(given) == expected | {"cfg": "a=b"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["import", "a.weights", "-o", "b.safetensors"], "Give --cfg"),
        (["import", "a.pt", "-o", "b.safetensors"], "Give --family"),
        (["import", "a.pt", "--family", "msd"], "Give --session SESSION or -o"),
        (["import", "a.pt", "--family", "msd", "--option", "depth", "-o", "b.safetensors"], "Expected KEY=VALUE"),
        (["inspect", "hitnet", "--size", "416"], "Expected HEIGHTxWIDTH"),
        (["export", "hitnet", "-o", "a.h5"], "ends in .onnx, .weights or .safetensors"),
    ],
)
def test_wrong_usage(arguments: list[str], told: str, capsys: Capture) -> None:
    assert told in refused(capsys, 2, *arguments)


def test_class_names_must_be_as_many_as_the_outputs(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    arguments = ["import", tmp_path / "small.safetensors", "-o", tmp_path / "new.safetensors", "--class-names", "one"]
    assert "the network has 2" in refused(capsys, 2, *arguments)
    assert not (tmp_path / "new.safetensors").exists()


def test_import_that_does_not_fit_fails(tmp_path: Path, capsys: Capture) -> None:
    torch.save(create("msd", depth=3).state_dict(), tmp_path / "net.pt")
    arguments = [
        "import",
        tmp_path / "net.pt",
        "--family",
        "msd",
        "--option",
        "depth=4",
        "-o",
        tmp_path / "n.safetensors",
    ]
    assert "expected weights of shape (90,), got (54,)" in refused(capsys, 1, *arguments)
    assert not (tmp_path / "n.safetensors").exists()


def test_export_weights(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    done(capsys, "export", tmp_path / "small.safetensors", "-o", tmp_path / "out.weights")
    assert (tmp_path / "out.weights").read_bytes() == (tmp_path / "small.weights").read_bytes()


def test_export_a_checkpoint(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    done(capsys, "export", tmp_path / "small.safetensors", "-o", tmp_path / "out.safetensors")
    assert checkpoint.load(tmp_path / "out.safetensors")[1]["parent"] == "big"


def test_only_darknet_has_weights(tmp_path: Path, capsys: Capture) -> None:
    assert "no Darknet network" in refused(capsys, 1, "export", "msd", "-o", tmp_path / "out.weights")


def test_export_onnx(tmp_path: Path, network: Darknet, capsys: Capture) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = done(capsys, "export", tmp_path / "small.safetensors", "-o", tmp_path / "out.onnx", "--size", "64x32")
    assert "for frames of 3 x 64 x 32; onnxruntime's results differ by" in out
    assert (tmp_path / "out.onnx").stat().st_size > 4 * network.parameter_count()


def test_export_onnx_that_computes_something_else_fails(
    tmp_path: Path, network: Darknet, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Program:
        model = type("Model", (), {"metadata_props": {}})

        def save(self, path: Path, external_data: bool) -> None:
            path.write_bytes(b"another network")

    monkeypatch.setattr(onnx_export, "_is_installed", lambda _: True)
    monkeypatch.setattr(onnx_export, "_translated", lambda *_: Program())
    monkeypatch.setattr(onnx_export, "_difference", lambda *_: 2e-4)
    (tmp_path / "out.onnx").write_bytes(b"what was there before")
    err = refused(capsys, 1, "export", tmp_path / "small.safetensors", "-o", tmp_path / "out.onnx")
    assert "differ by 2.0e-04" in err
    assert (tmp_path / "out.onnx").read_bytes() == b"what was there before"
    assert not list(tmp_path.glob(".out*"))


def session_of(folder: Path, recipe: str) -> Session:
    return Session.create(folder, recipe_text(recipe), recipe)


def copy_of_shipped(session: Session, name: str, copy: str, **metadata: object) -> Path:
    """A shipped model under another name, with other metadata, in a session."""
    model, known = checkpoint.load(shipped_models()[name].path)
    return checkpoint.save(session.models_path / f"{copy}.safetensors", model, {**known, "name": copy, **metadata})


@pytest.mark.parametrize(
    ("recipe", "model", "stage"),
    [
        ("spi", "hitnet-spi", "classify"),
        ("cryoet", "membranes", "segment"),
        ("cryoet", "particles", "patches"),
        ("tomo", "tomo-msd", "segment"),
    ],
)
def test_use_takes_a_model_for_every_kind_of_stage(
    tmp_path: Path, recipe: str, model: str, stage: str, capsys: Capture
) -> None:
    session = session_of(tmp_path / "s", recipe)
    copy_of_shipped(session, model, "other")
    assert f"The {stage} stage" in done(capsys, "use", session.path, "other")
    assert models_in_use(session)[stage] == "other"
    listed = {each["name"]: each["in_use"] for each in json.loads(done(capsys, "list", session.path, "--json"))}
    assert listed["other"] and not listed[model]


@pytest.mark.parametrize(
    ("recipe", "model", "reason"),
    [
        ("cryoet", "hitnet-spi", "its network (darknet) serves a classify stage, and the recipe cryoet has no"),
        ("tomo", "particles", "its network (lenet) serves a patches stage"),
        ("spi", "membranes", "serves a segment stage"),
        ("sfx", "hitnet-spi", "Begin a session with a recipe that asks a network"),
    ],
)
def test_use_refuses_a_model_for_another_kind_of_stage(
    tmp_path: Path, recipe: str, model: str, reason: str, capsys: Capture
) -> None:
    session = session_of(tmp_path / "s", recipe)
    before = models_in_use(session)
    assert reason in refused(capsys, 1, "use", session.path, model)
    assert models_in_use(session) == before


@pytest.mark.parametrize(
    ("recipe", "model", "metadata", "reason"),
    [
        ("cryoet", "membranes", {"classes": ["background", "ice"]}, "the model's classes are background, ice"),
        ("spi", "hitnet-spi", {"classes": list("abcde")}, "Cannot look for 'single'"),
    ],
)
def test_use_refuses_a_model_that_knows_other_classes(
    tmp_path: Path, recipe: str, model: str, metadata: dict[str, object], reason: str, capsys: Capture
) -> None:
    session = session_of(tmp_path / "s", recipe)
    copy_of_shipped(session, model, "strange", **metadata)
    assert reason in refused(capsys, 1, "use", session.path, "strange")
    assert "strange" not in models_in_use(session).values()


def test_use_hands_a_file_to_the_engine_by_its_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    session = session_of(tmp_path / "s", "tomo")
    path = copy_of_shipped(session, "tomo-msd", "mine").rename(tmp_path / "mine.safetensors")
    monkeypatch.chdir(tmp_path)
    done(capsys, "use", session.path, "mine.safetensors")
    assert models_in_use(session) == {"segment": str(path)}
