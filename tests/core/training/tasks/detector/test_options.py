"""What a training learns from, begins with and keeps as it is; its schedule and its batches."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from photon_triage.core.common.errors import TrainingError
from photon_triage.core.frames import FrameKey
from photon_triage.core.prepare import Preparation
from photon_triage.core.recipe import PrepareTable
from photon_triage.core.session.decisions.labels import Label, LabelWriter
from photon_triage.core.session.session import Session
from photon_triage.core.training.data.sources import checked_sources, choose
from photon_triage.core.training.dispatch import Asked, asked
from photon_triage.core.training.model.initial_weights import freeze, initialise
from photon_triage.core.training.tasks.detector.batch_sampler import Balance, BatchSampler, parse_balance
from photon_triage.core.training.tasks.detector.config import TrainingJob
from photon_triage.core.training.tasks.detector.detector_job import run_training
from photon_triage.core.training.tasks.detector.learner import TrainingPlan, train
from photon_triage.models.common.checkpoint import read_metadata, save
from photon_triage.models.common.errors import ModelError
from photon_triage.models.darknet.darknet import Darknet
from photon_triage.models.darknet.detector import Detector
from photon_triage.models.darknet.optim import learning_rate, shortened
from photon_triage.models.nets.lenet import LeNetPatch

from ...builders import new_session
from .test_detector_job import CFG, CPU, detector, disc_examples, labelled, preparation

__all__ = ["labelled"]

BACKBONE = CFG[: CFG.index("[convolutional]\nfilters=6")]
YOLOV3 = (
    BACKBONE.replace(
        "max_batches=60", "max_batches=600\nburn_in=30\npolicy=steps\nsteps=400\nscales=.1\nsubdivisions=4"
    )
    + """[convolutional]
filters=12
size=1
stride=1
pad=1
activation=linear
[yolo]
mask=0,1
anchors=8,8, 12,12, 20,20
classes=1
num=3
ignore_thresh=.7
truth_thresh=1
"""
)


def key(index: int) -> FrameKey:
    return FrameKey("/data/run.h5", "d", index)


def said(index: int, *, queue: str = "", imported: bool = False) -> Label:
    return Label(key(index), "accepted", "ada", 1.0, queue=queue, imported=imported)


def cfg_file(folder: Path, text: str = CFG) -> str:
    path = folder / "discs.cfg"
    path.write_text(text)
    return str(path)


def test_labels_of_the_audit_do_not_teach_unless_asked_to() -> None:
    labels = [said(0), said(1, queue="uncertain"), said(2, queue="audit"), said(3, imported=True)]
    usual = choose(labels, ("labels", "imported"))
    assert [label.key.index for label in usual.labels] == [0, 1, 3] and usual.left_out == {"audit": 1}
    assert usual.counts([key(0), key(3)]) == {"labels": 1, "imported": 1}
    assert [label.key.index for label in choose(labels, ("labels", "audit")).labels] == [0, 1, 2]
    with pytest.raises(TrainingError, match="truth") as caught:
        checked_sources(("labels", "truth"))
    assert all(name in str(caught.value.hint) for name in ("labels", "imported", "simulated", "audit"))


def test_a_model_records_what_it_learned_from(labelled: Session, tmp_path: Path) -> None:
    labels = list(labelled.labels().labels.values())[::4]  # from all over, so that not all of them are held out
    writer = LabelWriter(labelled.journal())
    writer.queue = "audit"
    for label in labels:
        writer.decide(label.key, label.verdict)
    LabelWriter(labelled.journal()).take_over([replace(label, who="bob") for label in labels[:1]], override=True)
    job = TrainingJob(
        labelled, name="discs", cfg=cfg_file(tmp_path), iterations=4, augment=("friedel", "gaps"),
        balance=parse_balance("0.5", "balanced"), freeze="2",
    )  # fmt: skip
    made = run_training(job)
    assert made.facts["audit_left_out"] == len(labels) - 1 and not made.facts["audit_in_training"]
    assert sum(made.facts["sources"].values()) == made.facts["trained_on"] and "audit" not in made.facts["sources"]
    metadata = read_metadata(made.entry.path)
    told = metadata["training"]
    assert told["from"] == ["labels", "imported"] and told["augment"] == ["friedel", "gaps"] and told["freeze"] == "2"
    assert told["share"] == 0.5 and told["class_weights"] == "balanced" and told["frozen_numbers"] > 0
    with (labelled.path / "training" / "discs" / "trained_on.csv").open() as file:
        learned = {(row["file"], row["dataset"], int(row["index"])) for row in csv.DictReader(file)}
    audited = {(label.key.file, label.key.dataset, label.key.index) for label in labels[1:]}
    assert len(learned) == made.facts["trained_on"] and not learned & audited
    by_wish = run_training(replace(job, name="all", sources=("labels", "imported", "audit")))
    assert by_wish.facts["audit_left_out"] == 0
    assert read_metadata(by_wish.entry.path)["audit_in_training"] == bool(by_wish.facts["sources"].get("audit"))
    assert by_wish.facts["sources"]["audit"] > 0


def test_only_labels_of_the_audit_are_told(labelled: Session, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="left out were 61 of labels") as caught:
        run_training(TrainingJob(labelled, cfg=cfg_file(tmp_path), sources=("imported",)))
    assert "--from" in str(caught.value.hint)


def test_what_is_asked_for(tmp_path: Path) -> None:
    session = new_session(tmp_path / "session")
    assert asked(None, None, session) == Asked()
    assert asked("hitnet", None, session) == Asked(cfg="hitnet")
    assert asked("msd", None, session) == Asked(family="msd")
    assert asked(None, "hitnet-spi", session) == asked("hitnet-spi", None, session) == Asked(base="hitnet-spi")
    assert asked("yolov2-seeds", "a.weights", session) == Asked(cfg="yolov2-seeds", init="a.weights")
    assert asked("lenet", "particles", session) == Asked(base="particles")
    assert asked("lenet", "particles", session, changed=True) == Asked(family="lenet", init="particles")
    for model, init, allowed in (
        ("resnet", None, "hitnet"),
        (None, "a.weights", "--model"),
        ("msd", "a.weights", ".s"),
    ):
        with pytest.raises(TrainingError) as caught:
            asked(model, init, session)
        assert allowed in str(caught.value.hint)


def test_a_network_begins_with_what_fits_of_another(tmp_path: Path) -> None:
    torch.manual_seed(1)
    learned = Darknet.from_cfg(CFG, classes=5)
    learned.seen = 700
    path = save(tmp_path / "five.safetensors", learned, {"classes": list("abcde"), "name": "five"})
    one = Darknet.from_cfg(CFG)
    report = initialise(one, str(path), tmp_path)
    state = one.state_dict()
    shared = {
        name for name, tensor in learned.state_dict().items() if name in state and state[name].shape == tensor.shape
    }
    assert report["loaded"] == len(shared) - 1 < report["of"] and not report["whole"] and one.seen == 0
    assert all(torch.equal(state[name], learned.state_dict()[name]) for name in shared - {"images_seen"})
    again = initialise(Darknet.from_cfg(CFG, classes=5), str(path), tmp_path)
    assert again["whole"] and again["classes"] == list("abcde")
    with pytest.raises(TrainingError, match="none of its tensors"):
        initialise(LeNetPatch(patch=20, widths=[3, 4], hidden=[4]), str(path), tmp_path)


@pytest.mark.parametrize("cutoff", [None, 3])
def test_a_network_begins_with_a_darknet_file_whole_or_cut(tmp_path: Path, cutoff: int | None) -> None:
    """Whole, it is of a network with five classes: its head does not fit, its feature extractor does."""
    torch.manual_seed(1)
    learned = Darknet.from_cfg(CFG, classes=5)
    learned.seen = 900
    learned.save_weights(tmp_path / "five.weights", cutoff)
    one = Darknet.from_cfg(CFG)
    report = initialise(one, str(tmp_path / "five.weights"), tmp_path)
    assert report["loaded"] == 2 and report["missing"] == [3] and "2 convolutions loaded" in report["text"]
    assert torch.equal(
        one.state_dict()["layers.0.convolution.weight"], learned.state_dict()["layers.0.convolution.weight"]
    )
    assert report["seen"] == 900 and one.seen == 0, "what is new begins anew"


def test_a_damaged_darknet_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.weights").write_bytes(b"12345")
    with pytest.raises(ModelError, match="hold no header"):
        initialise(Darknet.from_cfg(CFG), str(tmp_path / "a.weights"), tmp_path)


def test_frozen_layers_stay_as_they_are_and_the_others_learn() -> None:
    torch.manual_seed(0)
    model = detector()
    assert freeze(model.network, "1") == 8 * 9 + 16
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    list(train(model, preparation(), disc_examples(30, 1), TrainingPlan(3, 8), CPU))
    changed = {name for name, value in model.network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed and not any(name.startswith("layers.0.") for name in changed)
    assert any(name.startswith("layers.2.") and "running" in name for name in changed)


@pytest.mark.parametrize("what", ["0", "99", "nothing", "layers", "stem"])
def test_what_cannot_be_frozen_is_told(what: str) -> None:
    with pytest.raises(TrainingError, match="Could not freeze") as caught:
        freeze(detector().network, what)
    assert "Allowed" in str(caught.value.hint)


def test_other_networks_are_frozen_by_name() -> None:
    network = LeNetPatch(patch=20, widths=[3, 4], hidden=[4])
    first = next(name for name, _ in network.named_parameters())
    assert freeze(network, first) == dict(network.named_parameters())[first].numel()
    with pytest.raises(TrainingError, match="only Darknet networks number theirs"):
        freeze(network, "1")


def test_batches_have_the_share_and_the_weights_that_were_asked_for() -> None:
    examples = disc_examples(60, 1)
    rng = np.random.default_rng(0)
    names = np.where(np.arange(60) % 6 == 0, "water", "streak")
    examples = replace(examples, categories=np.where(examples.positive, "single", names))

    def shares(balance: Balance) -> tuple[float, float]:
        drawn = BatchSampler(examples, balance)(rng, 4000)
        negative = drawn[~examples.positive[drawn]]
        return float(examples.positive[drawn].mean()), float((examples.categories[negative] == "water").mean())

    rare = float((examples.categories[~examples.positive] == "water").mean())
    assert shares(Balance())[0] == pytest.approx(0.3) and shares(Balance())[1] == pytest.approx(rare, abs=0.03)
    assert shares(Balance(share=None))[0] == pytest.approx(examples.positive.mean(), abs=0.03)
    assert shares(Balance(balanced=True))[1] == pytest.approx(0.5, abs=0.03)
    assert shares(parse_balance("0.6", "water=3")) == pytest.approx((0.6, 3 * rare / (1 + 2 * rare)), abs=0.03)
    with pytest.raises(TrainingError, match="no label is of it"):
        BatchSampler(examples, parse_balance(None, "ice=3"))


@pytest.mark.parametrize(("share", "weights"), [("2", None), ("half", None), (None, "water"), (None, "water=-1")])
def test_balances_that_cannot_be_are_told(share: str | None, weights: str | None) -> None:
    with pytest.raises(TrainingError, match=r"Could not (balance|weigh)") as caught:
        parse_balance(share, weights)
    assert "Allowed" in str(caught.value.hint)


def test_a_short_training_follows_the_whole_schedule() -> None:
    net = Darknet.from_cfg(YOLOV3).net
    short = shortened(net, 60)
    assert (short.burn_in, short.steps, short.max_batches) == (6, (40,), 60) and shortened(net, 900) == net
    rates = [learning_rate(short, iteration) / net.learning_rate for iteration in (1, 3, 6, 39, 40)]
    assert rates == pytest.approx([(1 / 6) ** 4, 0.5**4, 1, 1, 0.1])


def test_subdivisions_add_up_to_the_batch() -> None:
    """With batch-norm's statistics kept, parts of a batch give the gradients of the whole."""
    weights = []
    for at_once in (16, 4):
        torch.manual_seed(0)
        model = detector()
        plan = TrainingPlan(1, 16, rate=1e-2, frozen_norm=True, at_once=at_once, augment=())
        list(train(model, preparation(), disc_examples(16, 1), plan, CPU))
        weights.append(model.network.state_dict())
    assert int(weights[1]["images_seen"]) == 16
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor.float(), weights[1][name].float(), atol=1e-6), name


def test_a_yolov3_network_learns_by_its_schedule_for_so_many_epochs(labelled: Session, tmp_path: Path) -> None:
    losses: list[float] = []
    job = TrainingJob(
        labelled, name="discs", cfg=cfg_file(tmp_path, YOLOV3), epochs=16, seed=3, device="cpu", augment=("mirror",)
    )
    made = run_training(job, lambda done, planned, loss, f1: losses.append(loss))
    assert made.facts["iterations"] == int(np.ceil(16 * made.facts["trained_on"] / 16)) == len(losses)
    assert losses[-1] < 0.7 * losses[0] and made.facts["training"]["epochs"] >= 16


@pytest.mark.parametrize("name", ["hitnet", "residual-1class", "yolov2-seeds", "yolov2-voc-1class", "yolov3-1class"])
def test_shipped_cfgs_learn(name: str) -> None:
    """On a small input: the loss on two frames, seen again and again, falls."""
    torch.manual_seed(0)
    network = Darknet.from_cfg(name)
    others = tuple(f"other {place}" for place in range(1, network.heads[0].classes))
    examples = disc_examples(8, 1)
    two = np.isin(np.arange(8), [np.argmax(examples.positive), np.argmin(examples.positive)])
    small = Preparation(PrepareTable(scale="linear", full_scale=20), (64, 64), network.in_channels)
    plan = TrainingPlan(4, 4, rate=1e-5, augment=())
    steps = list(train(Detector(network, ("single", *others)), small, examples.take(two), plan, CPU))
    assert steps[-1].loss < steps[0].loss
