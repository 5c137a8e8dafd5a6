from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photon_triage.models import create
from photon_triage.models.common.checkpoint import save
from photon_triage.models.common.errors import ModelError
from photon_triage.models.nets.radial_net import FLOOR, RadialNet, load_profile_classifier, profile_input


def test_a_profile_is_the_logarithm_of_means_over_usable_pixels() -> None:
    counts, pixels = torch.tensor([[0.0, 9.0, 5.0]]), torch.tensor([[4.0, 100.0, 0.0]])
    made = profile_input(counts, pixels)
    assert made.shape == (1, 2, 3)
    assert made[0, 0].tolist() == pytest.approx([0.0, 1.0, torch.log10(torch.tensor(1 + 5 / FLOOR)).item()])
    assert made[0, 1].tolist() == [1.0, 1.0, 0.0]


def test_a_profile_does_not_know_how_many_pixels_a_ring_has() -> None:
    counts, pixels = torch.tensor([[8.0, 4.0]]), torch.tensor([[4.0, 2.0]])
    assert torch.equal(profile_input(counts, pixels), profile_input(counts / 2, pixels / 2))


def test_it_comes_back_from_a_checkpoint_with_the_same_scores(tmp_path: Path) -> None:
    network = create("radial", bins=24, widths=[4, 8])
    assert isinstance(network, RadialNet)
    network.eval()
    path = save(tmp_path / "a.safetensors", network, {"architecture": network.architecture, "classes": ["no", "yes"]})
    counts, pixels = torch.rand(3, 24) * 50, torch.full((1, 24), 7.0)
    expected = torch.softmax(network(profile_input(counts, pixels)), 1)[:, 1]
    assert torch.equal(load_profile_classifier(path).scores(counts, pixels), expected)


@pytest.mark.parametrize("options", [{"bins": 4, "widths": [4, 4, 4]}, {"kernel": 4}, {"q_max": 0}, {"classes": 1}])
def test_what_cannot_be_built_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="radial network"):
        create("radial", **options)


def test_profiles_of_another_length_are_refused() -> None:
    with pytest.raises(ModelError, match="profiles of shape"):
        RadialNet(bins=24)(torch.zeros(1, 2, 25))
