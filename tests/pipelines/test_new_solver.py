"""A solver of one's own: a config, a generator, and an entry in the table; everyone else asks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.diffusers_layout import scheduler_to_json
from sanakit.checkpoints.identity.known_models import known_card
from sanakit.common.devices import widened
from sanakit.common.errors import ConfigError, RequestError
from sanakit.pipelines.picture_file import write_image
from sanakit.pipelines.replay import replay
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.sampling.evaluation import Draw, Evaluation, Solver
from sanakit.sampling.schedules import Schedule, flow_euler_schedule
from sanakit.sampling.solvers import SOLVERS


@dataclass(frozen=True, kw_only=True, slots=True)
class Wandering:
    """To the clean latent and back with new noise, in every step."""

    name: ClassVar[str] = "wandering"
    a1111_name: ClassVar[str] = "Wandering a"
    diffusers_class: ClassVar[str] = "WanderingScheduler"

    num_steps: int
    flow_shift: float

    def schedule(self) -> Schedule:
        return flow_euler_schedule(self.num_steps, self.flow_shift)

    def start(self, noise: Tensor, draw: Draw, *, start: int = 0, previous: Tensor | None = None) -> Solver:
        return wandering_solver(noise, self.schedule(), draw, start=start)

    def to_diffusers(self) -> dict[str, float]:
        return {"shift": self.flow_shift}


def wandering_solver(latent: Tensor, schedule: Schedule, draw: Draw, *, start: int) -> Solver:
    latent = widened(latent)
    for index in schedule.steps(start):
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        velocity = yield Evaluation(latent, sigma, schedule.timesteps[index], index, schedule.num_steps)
        latent = (1 - next_sigma) * (latent - sigma * velocity) + next_sigma * draw(index)
    return latent


@pytest.fixture
def pipeline(tiny_bundle: ModelBundle, monkeypatch: pytest.MonkeyPatch) -> TextToImagePipeline:
    monkeypatch.setitem(SOLVERS, Wandering.name, Wandering)
    return TextToImagePipeline(tiny_bundle)


def test_its_noise_is_the_pictures_own(pipeline: TextToImagePipeline, tmp_path: Path) -> None:
    """The same alone, in company and when it is made again; another with every seed."""
    together = pipeline("a cat", solver="wandering", seed=3, num_images=2).images
    made = pipeline("a cat", solver="wandering", seed=4).images[0]
    assert torch.equal(together[1].latent, made.latent)
    assert not torch.equal(together[0].latent, made.latent)
    write_image(tmp_path / "picture.png", made.image, made.record)
    assert replay(tmp_path / "picture.png", pipeline).identical
    assert "Sampler: Wandering a," in made.record.to_a1111()


def test_a_card_may_name_it_and_diffusers_is_told(pipeline: TextToImagePipeline) -> None:
    bundle, defaults = pipeline.bundle, pipeline.bundle.card.defaults
    card = replace(bundle.card, defaults=replace(defaults, solver="wandering", flow_shift=2.0))
    scheduler = scheduler_to_json(card)
    assert scheduler["_class_name"] == "WanderingScheduler"
    assert scheduler["shift"] == 2.0
    facts = {"config": bundle.transformer.config, "compression": 16, "precision": card.precision}
    known = known_card(source="a folder", names="", scheduler=scheduler, **facts)
    assert (known.defaults.solver, known.defaults.flow_shift) == ("wandering", 2.0)
    by_card = TextToImagePipeline(replace(bundle, card=card))("a cat").images[0]
    assert torch.equal(by_card.latent, pipeline("a cat", solver="wandering", flow_shift=2.0).images[0].latent)


def test_a_name_that_is_not_in_the_table_is_refused_everywhere(tiny_bundle: ModelBundle) -> None:
    with pytest.raises(
        RequestError, match="no solver 'wandering'; it must be flow-dpm, flow-euler, scm, flow-sde or flow-cps"
    ):
        GenerationRequest(prompt="", solver="wandering")
    with pytest.raises(
        ConfigError, match="no solver 'wandering'; it must be flow-dpm, flow-euler, scm, flow-sde or flow-cps"
    ):
        replace(tiny_bundle.card.defaults, solver="wandering")
