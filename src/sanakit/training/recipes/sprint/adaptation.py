"""Making a teacher fit to be distilled: told the noise level itself, with norms of queries and keys, and still itself.

Source: SANA-Sprint, arXiv:2503.09641, section 3.2.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.common.errors import ConfigError
from sanakit.common.files import write_whole
from sanakit.common.ranks import sum_over_ranks
from sanakit.features.batches import LatentBatch, TrainingData
from sanakit.layers.embeddings import ScalarEmbedding, sinusoid
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, Velocity, drop_captions, flow_matching_loss
from sanakit.training.optimizers.config import OptimizerConfig
from sanakit.training.run.session import Session
from sanakit.training.step.parallel import attention_for, autocast
from sanakit.training.step.trainee import Made, Trainee

logger = logging.getLogger(__name__)

TEACHER_FILE = "teacher.json"
DENSE_TIME = 0.001  # timestep_scale of a network that is told the noise level itself


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptationConfig:
    """What a teacher learns in stages that train it, and how near it must come to what it was.

    Attributes:
        target: "teacher": the velocities that it gave before; "data": flow matching, as published.
        objective: how noise levels are drawn.
        caption_dropout: share of captions that are emptied.
        tolerance: its distance from the velocities that it gave before, over their size, above which it is refused.
        num_samples: of which that distance is measured.
    """

    target: Literal["teacher", "data"] = "teacher"
    objective: FlowMatchingConfig = field(default_factory=lambda: FlowMatchingConfig(num_levels=None))
    caption_dropout: float = 0.1
    tolerance: float = 0.05
    num_samples: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.caption_dropout <= 1 or not self.tolerance > 0 or self.num_samples < 1:
            raise ConfigError(
                f"adaptation.caption_dropout={self.caption_dropout} must lie within [0, 1], tolerance={self.tolerance} "
                f"and num_samples={self.num_samples} be positive"
            )


@torch.no_grad()
def adapted(given: LinearDiT) -> LinearDiT:
    """The network of ``given`` that is told the noise level itself and has norms of queries and keys, its weights those
    of ``given``; new are the embedding of time, fitted to the old one, and norms that were not there."""
    config = replace(given.config, timestep_scale=DENSE_TIME, qk_norm=True)
    with torch.device(given.device):
        network = LinearDiT(config)
    own = {name: torch.ones_like(tensor) for name, tensor in network.state_dict().items() if ".norm_" in name}
    network.load_state_dict({**own, **given.state_dict()})
    if given.config.timestep_scale != DENSE_TIME:
        refit_(network.time_embed, given.time_embed, scale=1000 * given.config.timestep_scale)
    return network


def _crowded(num: int) -> Tensor:
    """Levels from 0 to 1, closer to each other at both ends."""
    return (1 - torch.linspace(0, math.pi, num).cos()) / 2


def refit_(embedding: ScalarEmbedding, before: ScalarEmbedding, *, scale: float) -> None:
    """Give an embedding the weights with which it says of a level what ``before`` says of ``scale`` times it.

    The first layer becomes steps of several widths all over the levels, the second is solved for.
    """
    device, size = embedding.linear_1.weight.device, embedding.linear_1.out_features
    generator = torch.Generator().manual_seed(0)
    slopes = torch.exp(torch.rand(size, generator=generator) * math.log(64.0)) * 2  # 2 to 128
    slopes *= torch.randint(0, 2, (size,), generator=generator) * 2 - 1
    places = _crowded(size).sin()
    embedding.linear_1.weight.zero_()
    embedding.linear_1.weight[:, embedding.frequency_channels // 2] = slopes.to(device)  # of the sine of the level
    embedding.linear_1.bias.copy_(-slopes * places)
    levels = _crowded(2001).to(device)
    wanted = before(scale * levels).double()  # (L, C)
    hidden = F.silu(embedding.linear_1(sinusoid(levels, embedding.frequency_channels))).double()
    hidden = torch.cat([hidden, torch.ones_like(hidden[:, :1])], dim=1)
    squares = hidden.mT @ hidden
    squares.diagonal().add_(1e-6 * squares.diagonal().mean())
    found = torch.linalg.solve(squares, hidden.mT @ wanted)  # (C' + 1, C)
    embedding.linear_2.weight.copy_(found[:-1].mT)
    embedding.linear_2.bias.copy_(found[-1])


class Adaptation(nn.Module):
    """A teacher that learns to be what it was.

    Args:
        given: with the weights that the run begins with; frozen here.
        config: what it learns.
    """

    def __init__(self, given: LinearDiT, config: AdaptationConfig) -> None:
        super().__init__()
        self.given, self.config = given.eval().requires_grad_(False), config
        self.teacher = adapted(given).train().requires_grad_(True)

    def trainee(self, null: TextCondition, optimizer: OptimizerConfig) -> Trainee:
        constants = {"null.embeds": null.embeds, "null.mask": null.mask}
        seen = {"given": self.given} if self.config.target == "teacher" else {}
        return Trainee("teacher", self.teacher, partial(self.loss, null), optimizer, constants, companions=seen)

    def loss(
        self, null: TextCondition, batch: LatentBatch, generator: torch.Generator, made: Made
    ) -> Mapping[str, Tensor]:
        """Flow matching, towards the data or towards the velocities of before."""
        device = batch.latent.device
        empty = TextCondition(null.embeds.to(device), null.mask.to(device))
        text = drop_captions(batch.text, empty, generator, self.config.caption_dropout)
        target = _velocity(self.given, text) if self.config.target == "teacher" else None
        return flow_matching_loss(
            _velocity(self.teacher, text), batch.latent, generator, config=self.config.objective, target=target
        )

    @torch.no_grad()
    def error(self, data: TrainingData[LatentBatch], session: Session) -> float:
        """The distance of the teacher from what it was, over the size of its velocities; all processes must ask.

        At noise levels that are spread evenly, on the first samples of the data, with noise of their own.
        """
        squares = [0.0, 0.0]
        each = data.num_samples(0) * session.ranks.world
        for turn in range(math.ceil(self.config.num_samples / each)):
            number = turn * session.ranks.world + session.ranks.rank
            batch = data.batch(number).to(session.device)
            generator = torch.Generator().manual_seed(number)
            sigma = torch.rand(len(batch.latent), generator=generator)
            noise = torch.randn(batch.latent.shape, generator=generator).to(session.device)
            level = sigma.to(session.device)[:, None, None, None]
            noisy, time = (1 - level) * batch.latent + level * noise, 1000 * level.flatten()
            with attention_for(session.device), autocast(session.device, session.config.precision):
                before, now = (_velocity(network, batch.text)(noisy, time) for network in (self.given, self.teacher))
            squares[0] += float((now.double() - before.double()).square().sum())
            squares[1] += float(before.double().square().sum())
        difference, size = sum_over_ranks(squares, session.ranks)
        return math.sqrt(difference / size)

    def accept(self, data: TrainingData[LatentBatch], session: Session) -> None:
        """Note the distance in ``teacher.json`` of the run.

        Raises:
            ConfigError: it is more than is tolerated.
        """
        error, allowed = self.error(data, session), self.config.tolerance
        logger.info("the teacher's velocities differ from those of before by %.2f %% of their size", 100 * error)
        if session.ranks.is_first:
            facts = {"velocity_error": error, "tolerance": allowed, "num_samples": self.config.num_samples}
            write_whole(session.folder / TEACHER_FILE, json.dumps(facts, indent=1))
        if not error <= allowed:
            raise ConfigError(
                f"the adapted teacher differs from what it was by {error:.1%} of its velocities, and "
                f"adaptation.tolerance={allowed:g} allows {allowed:.1%}; train its stage longer, or with a lower "
                f"adaptation.objective.flow_shift, as all noise levels count alike here"
            )


def _velocity(network: LinearDiT, text: TextCondition) -> Velocity:
    told = network.prepare(text)
    return lambda noisy, time: network(noisy, time, told)
