"""A training step of the starter's shape, by our kernels and by torch's alone."""

from __future__ import annotations

import torch
from torch import Tensor

from sanakit.bench.case import Case
from sanakit.bench.floors import Work, counted_flops
from sanakit.bench.random_weights import built, random_transformer
from sanakit.bench.settings import BenchSettings
from sanakit.kernels.native.library import torch_alone
from sanakit.kernels.newton_schulz import NUM_ITERATIONS
from sanakit.models.network import state_bytes
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.training.objectives.flow_matching import FlowMatchingConfig, flow_matching_loss
from sanakit.training.optimizers.build import build_optimizers, is_block_matrix
from sanakit.training.optimizers.config import MuonConfig
from sanakit.training.step.ema import Ema
from sanakit.training.step.parallel import attention_for, clip_gradients

SHAPE = LinearDiTConfig(
    hidden_size=192,
    num_layers=10,
    cross_head_dim=64,
    in_channels=16,
    out_channels=16,
    caption_channels=576,
    qk_norm=True,
    interpolation_scale=1.0,
    sample_size=8,
)
"""That of recipes/starter-transformer.yaml."""

NUM_PICTURES, SHORTEST, LONGEST = 32, 24, 96
"""Pictures of a step, and tokens of their texts."""

RATE = 1e-3
LOSS = FlowMatchingConfig(flow_shift=2.0)


def training_case(settings: BenchSettings) -> Case:
    """Steps one after the other, each side with a network of its own; what is compared are the first gradients."""
    latent, text = _batch(settings)
    other = latent.clone()
    other[:, :1] *= 1.1
    ours, plain = (TrainingSteps(settings, latent, text) for _ in range(2))

    def beside() -> Tensor:
        with torch_alone():
            return plain()

    return Case(
        ours=ours,
        peer=beside,
        control=TrainingSteps(settings, other, text),
        work=training_work(),
        weights=state_bytes(ours.model.state_dict()),
        note=f"{NUM_PICTURES} pictures, Muon; beside torch's kernels alone, not diffusers",
    )


class TrainingSteps:
    """A step a call: noise, forward, backward, clipping, Muon, average; gives all gradients in one vector."""

    def __init__(self, settings: BenchSettings, latent: Tensor, text: TextCondition) -> None:
        self.model = built(random_transformer(SHAPE, settings.seed, torch.float32), settings.device)
        self.model.load_state_dict(
            {name: tensor.clone() for name, tensor in self.model.state_dict().items()}, assign=True
        )
        self.model.train().requires_grad_(True)
        self.optimizers = build_optimizers(self.model, MuonConfig(betas=(0.9, 0.99)), learning_rate=RATE)
        self.average = Ema(self.model)
        self.latent, self.text, self.device = latent, text, settings.device
        self.generator = torch.Generator().manual_seed(settings.seed)

    @torch.enable_grad()
    def __call__(self) -> Tensor:
        with attention_for(self.device):
            prepared = self.model.prepare(self.text)
            terms = flow_matching_loss(
                lambda noisy, time: self.model(noisy, time, prepared), self.latent, self.generator, config=LOSS
            )
            terms["loss"].backward()
        clip_gradients(self.model, 1.0)
        gradients = torch.cat([p.grad.flatten() for p in self.model.parameters() if p.grad is not None])
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.model)
        self.model.zero_grad(set_to_none=True)
        return gradients


def training_work() -> Work:
    """Forward and backward of texts of mean length without padding, and Muon's iterations as its author has them."""
    with torch.device("meta"):
        model = LinearDiT(SHAPE)
        tokens = (NUM_PICTURES, (SHORTEST + LONGEST) // 2)
        text = TextCondition(torch.empty(*tokens, SHAPE.caption_channels), torch.ones(tokens, dtype=torch.bool))
        latent = torch.empty(NUM_PICTURES, SHAPE.in_channels, SHAPE.sample_size, SHAPE.sample_size)
        times = torch.empty(NUM_PICTURES)
    flops, num_weights = 3 * counted_flops(lambda: model(latent, times, model.prepare(text))), 0
    for name, parameter in model.named_parameters():
        num_weights += parameter.numel()
        if is_block_matrix(name, parameter):
            small, large = sorted(parameter.shape)
            flops += NUM_ITERATIONS * (4 * small**2 * large + 2 * small**3)
    return Work(flops=flops, bytes=4 * 8 * num_weights)  # weights, gradients, momentum, average: read and written


def _batch(settings: BenchSettings) -> tuple[Tensor, TextCondition]:
    generator = torch.Generator().manual_seed(settings.seed)
    side = SHAPE.sample_size
    latent = torch.randn(NUM_PICTURES, SHAPE.in_channels, side, side, generator=generator)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (NUM_PICTURES, 1), generator=generator)
    mask = torch.arange(LONGEST) < lengths
    embeds = torch.randn(*mask.shape, SHAPE.caption_channels, generator=generator) * mask[..., None]
    text = TextCondition(embeds.to(settings.device), mask.to(settings.device))
    return latent.to(settings.device), text
