"""Guidance: which branches run, in which order, and how they combine."""

from __future__ import annotations

import math

import pytest
import torch

from sanakit.common.errors import ConfigError
from sanakit.sampling.guidance import BranchInput, ClassifierFreeGuidance, PerturbedAttentionGuidance

VELOCITIES = {
    "unconditional": torch.tensor([1.0]),
    "conditional": torch.tensor([2.0]),
    "perturbed": torch.tensor([1.5]),
}


def test_classifier_free_guidance() -> None:
    guidance = ClassifierFreeGuidance(scale=4.5)
    assert guidance.branches(1.0) == guidance.branches(0.001) == ("unconditional", "conditional")
    assert guidance.combine(VELOCITIES, 0.5).item() == pytest.approx(1 + 4.5 * (2 - 1))


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_a_scale_of_at_most_one_runs_one_branch(scale: float) -> None:
    guidance = ClassifierFreeGuidance(scale=scale)
    assert guidance.branches(0.5) == tuple(guidance.inputs()) == ("conditional",)
    assert guidance.combine({"conditional": torch.tensor([2.0])}, 0.5) == 2.0


def test_guidance_interval() -> None:
    guidance = ClassifierFreeGuidance(scale=3.0, interval=(0.2, 0.8))
    assert [len(guidance.branches(sigma)) for sigma in (0.1, 0.2, 0.5, 0.8, 0.9)] == [1, 2, 2, 2, 1]
    assert guidance.combine(VELOCITIES, 0.9) == 2.0
    assert guidance.combine(VELOCITIES, 0.5) == 4.0


def test_perturbed_attention_guidance() -> None:
    guidance = PerturbedAttentionGuidance(scale=4.5, pag_scale=2.0, layers=(8,))
    assert guidance.branches(0.5) == tuple(guidance.inputs()) == ("unconditional", "conditional", "perturbed")
    assert guidance.inputs()["perturbed"] == BranchInput(perturbed_layers=(8,))
    assert guidance.inputs()["unconditional"] == BranchInput(text="negative")
    assert guidance.combine(VELOCITIES, 0.5).item() == pytest.approx(1 + 4.5 * (2 - 1) + 2 * (2 - 1.5))


def test_perturbed_attention_without_classifier_free_guidance() -> None:
    guidance = PerturbedAttentionGuidance(scale=1.0, pag_scale=2.0, layers=(8,))
    assert guidance.branches(0.5) == ("conditional", "perturbed")
    assert guidance.combine(VELOCITIES, 0.5).item() == pytest.approx(2 + 2 * (2 - 1.5))


def test_adaptive_perturbed_attention_fades_and_then_drops_its_branch() -> None:
    guidance = PerturbedAttentionGuidance(scale=4.5, pag_scale=2.0, layers=(8,), adaptive_scale=0.005)
    assert guidance.pag_scale_at(0.9) == pytest.approx(2.0 - 0.005 * 100)
    assert "perturbed" in guidance.branches(0.9)
    assert guidance.branches(0.5) == ("unconditional", "conditional")
    assert guidance.combine(VELOCITIES, 0.5).item() == pytest.approx(1 + 4.5 * (2 - 1))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ClassifierFreeGuidance(scale=math.nan), "guidance_scale=nan"),
        (lambda: ClassifierFreeGuidance(scale=math.inf), "guidance_scale=inf"),
        (lambda: ClassifierFreeGuidance(scale=-1.0), "guidance_scale=-1"),
        (lambda: ClassifierFreeGuidance(scale=2.0, interval=(0.8, 0.2)), "interval"),
        (lambda: ClassifierFreeGuidance(scale=2.0, interval=(0.0, math.nan)), "interval"),
        (lambda: PerturbedAttentionGuidance(scale=2.0, pag_scale=math.nan, layers=(0,)), "pag_scale=nan"),
        (lambda: PerturbedAttentionGuidance(scale=2.0, pag_scale=2.0, layers=()), "layers"),
        (lambda: PerturbedAttentionGuidance(scale=2.0, pag_scale=2.0, layers=(-1,)), "layers"),
    ],
)
def test_bad_guidance_is_refused(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
