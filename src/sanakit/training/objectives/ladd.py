"""Latent adversarial distillation (LADD): what the student makes in one step is to pass for data.

A judge looks at latents under noise: the frozen teacher reads them, and trained heads say of its features whether a
picture or the student made them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.sampling.trigflow import MAX_ANGLE, SIGMA_DATA, Field, consistency
from sanakit.training.objectives.consistency import ConsistencyConfig, sample_angles
from sanakit.training.objectives.patch_gan import discriminator_loss, generator_loss
from sanakit.training.optimizers.config import OptimizerConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class AdversarialConfig:
    """The part of the judge in a student's loss, and the judge.

    Attributes:
        weight: of the student's adversarial term; 0 leaves it and the judge out.
        logit_mean, logit_std: of the angles at which the judge looks, drawn as those of consistency are.
        noise_share: of what the student makes for the judge, from noise alone; the rest begins at its usual angles.
        misaligned: also show the judge pictures beside the text of another one, which are to be refused.
        blocks: of the teacher whose outputs have a head, counted from 0, rising; None: a tenth, 2/5, 7/10 and the last
            of its depth, as published for 20 blocks.
        kernel: tokens that a head's convolution sees, an odd number.
        virtual_batch: samples that share the statistics of a head's norms, at most.
        optimizer, rate: of the heads; None is the recipe's optimiser, the rate is a multiple of the stage's.

    Source: SANA-Sprint, arXiv:2503.09641; LADD: arXiv:2403.12015.
    """

    weight: float = 0.5
    logit_mean: float = -0.6
    logit_std: float = 1.0
    noise_share: float = 0.5
    misaligned: bool = True
    blocks: tuple[int, ...] | None = None
    kernel: int = 9
    virtual_batch: int = 8
    optimizer: OptimizerConfig | None = None
    rate: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0 or not 0 <= self.noise_share <= 1:
            raise ConfigError(
                f"adversarial.weight={self.weight} must not be negative, and noise_share={self.noise_share} must lie "
                f"within [0, 1]"
            )
        if not self.logit_std > 0 or not self.rate > 0 or self.virtual_batch < 1 or self.kernel % 2 != 1:
            raise ConfigError(
                f"adversarial.logit_std={self.logit_std}, rate={self.rate} and virtual_batch={self.virtual_batch} must "
                f"be positive, and kernel={self.kernel} an odd number"
            )
        if self.blocks is not None and (not self.blocks or list(self.blocks) != sorted(set(self.blocks))):
            raise ConfigError(f"adversarial.blocks={list(self.blocks)} must be rising numbers of blocks, from 0")

    def blocks_of(self, depth: int) -> tuple[int, ...]:
        """Those of a network of so many blocks.

        Raises:
            ConfigError: it has fewer.
        """
        if self.blocks is None:
            return tuple(sorted({depth * block // 20 for block in (2, 8, 14, 19)}))
        if self.blocks[0] < 0 or self.blocks[-1] >= depth:
            raise ConfigError(
                f"adversarial.blocks={list(self.blocks)} names a block that the teacher has not: it has {depth}, so "
                f"the last is {depth - 1}"
            )
        return self.blocks


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """Where the noise of one micro-batch comes from, and at which angles."""

    generator: torch.Generator
    config: AdversarialConfig
    angles: ConsistencyConfig

    def begun(self, latent: Tensor) -> Tensor:
        """Angles ``(B,)`` at which the student begins: all noise for a share of the samples."""
        usual = sample_angles(
            len(latent), self.generator, mean=self.angles.logit_mean, std=self.angles.logit_std
        )  # fmt: skip
        from_noise = torch.rand(len(latent), generator=self.generator) < self.config.noise_share
        return torch.where(from_noise, MAX_ANGLE, usual).to(latent.device)

    def judged(self, latent: Tensor) -> Tensor:
        """Angles ``(B,)`` at which the judge looks."""
        mean, std = self.config.logit_mean, self.config.logit_std
        return sample_angles(len(latent), self.generator, mean=mean, std=std).to(latent.device)

    def noised(self, latent: Tensor, angle: Tensor) -> Tensor:
        """``cos t X + sin t Z`` of unit deviation."""
        noise = torch.randn(latent.shape, generator=self.generator).to(latent.device)
        cos, sin = (wave.reshape(-1, *[1] * (latent.ndim - 1)) for wave in (angle.cos(), angle.sin()))
        return cos * latent + sin * noise


def made_in_one_step(student: Field, latent: Tensor, draws: Draws) -> Tensor:
    """The clean latents that the student sees in noised ones, ``(B, ...)``."""
    angle = draws.begun(latent)
    return consistency(student)(SIGMA_DATA * draws.noised(latent, angle), angle) / SIGMA_DATA


def adversarial_loss(student: Field, judge: Field, latent: Tensor, draws: Draws) -> Tensor:
    """``-mean judgement`` of what the student makes, which reaches its weights through the teacher's features."""
    made = made_in_one_step(student, latent, draws)
    angle = draws.judged(latent)
    return generator_loss(judge(draws.noised(made, angle), angle))


def judging_loss(student: Field, judge: Field, latent: Tensor, draws: Draws) -> dict[str, Tensor]:
    """Hinge of the judge, between the data and what the student makes now, both under noise of one level.

    Args:
        student: its field, told texts and scales of guidance.
        judge: ``(u, t)`` to judgements ``(B, ...)``, told the same texts.
        latent: scaled, ``(B, ...)``.

    Returns:
        ``loss``, and the mean judgements ``real`` and ``made``.
    """
    with torch.no_grad():
        made = made_in_one_step(student, latent, draws)
    angle = draws.judged(latent)
    real = judge(draws.noised(latent, angle), angle)
    refused = [judge(draws.noised(made, angle), angle)]
    if draws.config.misaligned and len(latent) > 1:
        other, level = latent.roll(1, 0), angle.roll(1, 0)
        refused.append(judge(draws.noised(other, level), level))  # beside the text of its neighbour
    return {"loss": discriminator_loss(real, torch.cat(refused)), "real": real.mean(), "made": refused[0].mean()}
