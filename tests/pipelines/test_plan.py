"""From requests to single pictures with nothing left open."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard
from sanakit.common.errors import RequestError
from sanakit.pipelines.picture_file import read_record
from sanakit.pipelines.plan import PicturePlan, plan_pictures
from sanakit.pipelines.request import GenerationRequest
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.flow_euler import FlowEuler
from sanakit.sampling.guidance import ClassifierFreeGuidance, PerturbedAttentionGuidance

GRANULARITY = 32


@pytest.fixture
def card(tiny_bundle: ModelBundle) -> ModelCard:
    return tiny_bundle.card


def plans_of(card: ModelCard, **fields: Any) -> list[PicturePlan]:
    return plan_pictures([GenerationRequest(prompt="a cat", **fields)], card, GRANULARITY)


def test_what_was_not_said_is_the_cards(card: ModelCard) -> None:
    (plan,) = plans_of(card)
    assert plan.solver == FlowDPM(num_steps=card.defaults.num_inference_steps, flow_shift=card.defaults.flow_shift)
    assert plan.guidance == ClassifierFreeGuidance(scale=card.defaults.guidance_scale)
    side = card.defaults.base_size
    assert plan.generated == (plan.request.height, plan.request.width) == (side, side)


def test_what_was_said_counts(card: ModelCard) -> None:
    (plan,) = plans_of(card, solver="flow-euler", num_inference_steps=7, flow_shift=2.0, guidance_scale=0.0)
    assert plan.solver == FlowEuler(num_steps=7, flow_shift=2.0)
    assert plan.guidance == ClassifierFreeGuidance(scale=0.0)
    (perturbed,) = plans_of(card, pag_scale=2.0, guidance_scale=3.0)
    assert perturbed.guidance == PerturbedAttentionGuidance(scale=3.0, pag_scale=2.0, layers=card.defaults.pag_layers)


def test_every_picture_has_its_own_seed(card: ModelCard) -> None:
    assert [plan.request.seed for plan in plans_of(card, seed=2**63 - 2, num_images=3)] == [2**63 - 2, 2**63 - 1, 0]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"guidance_scale": 0.7, "guidance_interval": (0.2, 0.8), "negative_prompt": "blurry"},
        {"pag_scale": 1.5, "solver": "flow-euler", "flow_shift": 4.0, "num_inference_steps": 5},
        {"height": 96, "width": 160, "use_resolution_binning": False, "use_instruction": False, "seed": 9},
    ],
)
def test_a_plans_request_is_complete_and_plans_the_same_picture(card: ModelCard, fields: dict[str, Any]) -> None:
    (plan,) = plans_of(card, **fields)
    request = plan.request
    assert None not in request.model_dump().values()
    assert {name: getattr(request, name) for name in fields} == fields
    assert plan_pictures([request], card, GRANULARITY) == [plan]


def test_it_is_the_request_that_the_first_version_recorded(card: ModelCard) -> None:
    recorded = read_record(Path(__file__).parent / "data" / "picture-0.1.0.png").request
    fields = {
        "negative_prompt": "blurry",
        "seed": 7,
        "height": 64,
        "width": 64,
        "pag_scale": 1.5,
        "guidance_scale": 3.0,
    }
    request = GenerationRequest(prompt="two red apples", **fields)
    assert plan_pictures([request], card, GRANULARITY)[0].request.model_dump_json() == recorded.model_dump_json()


def test_perturbed_guidance_needs_a_card_that_names_layers(card: ModelCard) -> None:
    with pytest.raises(RequestError, match="pag_scale=2 needs layers to perturb, and tiny names none"):
        plans_of(replace(card, defaults=replace(card.defaults, pag_layers=())), pag_scale=2)


def test_a_larger_picture_than_files_are_opened_with_is_refused(card: ModelCard) -> None:
    (plan,) = plans_of(card, upscale=4)
    assert (plan.request.height, plan.request.upscale) == (card.defaults.base_size, 4)
    large = replace(card, defaults=replace(card.defaults, base_size=4096))
    with pytest.raises(RequestError, match=r"4096x4096 enlarged 4 times has 268 million pixels.*; 2 times is possible"):
        plans_of(large, upscale=4)
    assert plans_of(large, upscale=2)
