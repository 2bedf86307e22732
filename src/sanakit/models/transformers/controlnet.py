"""ControlNets of SANA: blocks beside the transformer that see a picture, and what they find added to its state.

There are two published kinds, which compute different things. Upstream's (NVlabs/Sana, ``SanaMSControlNet``) begins
with the transformer's state behind its first block and shares its embedders; diffusers' (``SanaControlNetModel``)
begins with the latent and has embedders of its own. Source of the idea: ControlNet, arXiv:2302.05543.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import torch
from torch import Tensor, nn

from sanakit.common.errors import ConfigError, ShapeError
from sanakit.layers.linear import Linear
from sanakit.models.network import Network
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.condition import Beside, Control
from sanakit.models.transformers.linear_dit import Block, Embedders, LinearDiT, LinearDiTConfig
from sanakit.models.transformers.prompted import condition_of, run_before

Topology = Literal["upstream", "diffusers"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlNetConfig(LinearDiTConfig):
    """That of the transformer beside which it runs, with ``num_layers`` for the number of copied blocks."""

    topology: Topology = "upstream"

    def __post_init__(self) -> None:
        LinearDiTConfig.__post_init__(self)
        if self.topology not in get_args(Topology):
            raise ConfigError(f"topology={self.topology!r} is not known; it is upstream or diffusers")
        if self.topology == "diffusers" and self.guidance_embeds:
            raise ConfigError("diffusers' ControlNet has no guidance embedding; leave guidance_embeds out")

    def check_beside(self, transformer: LinearDiTConfig) -> None:
        """Raises ConfigError for a transformer beside which it cannot run."""
        names = ("hidden_size", "in_channels", "patch_size", "caption_channels")
        for name in names if self.topology == "diffusers" else names[:1]:
            if (own := getattr(self, name)) != (other := getattr(transformer, name)):
                raise ConfigError(f"the ControlNet is made for {name}={own} and the model has {other}; take its own")
        if self.num_layers >= transformer.num_layers:
            raise ConfigError(
                f"the ControlNet has {self.num_layers} blocks and needs a transformer of more, not of "
                f"{transformer.num_layers}"
            )


class ControlNet(Network):
    """What is added to a transformer's state behind its blocks, given a picture; nothing at first."""

    outside_forward: ClassVar = ("prepare",)

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        self.config = config
        size = config.hidden_size
        self.own = Embedders(config) if config.topology == "diffusers" else None
        self.before = _zero(Linear(size, size))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.after = nn.ModuleList(_zero(Linear(size, size)) for _ in range(config.num_layers))

    @staticmethod
    def copied(transformer: LinearDiT, num_blocks: int, topology: Topology = "upstream") -> ControlNet:
        """One that begins with copies of a transformer's first blocks, and changes nothing yet."""
        fields = {name: getattr(transformer.config, name) for name in LinearDiTConfig.__dataclass_fields__}
        config = ControlNetConfig(**{**fields, "num_layers": num_blocks, "topology": topology})
        config.check_beside(transformer.config)
        network = ControlNet(config).to(transformer.device, transformer.compute_dtype)
        theirs = transformer.state_dict()
        ours = {name: theirs.get(name.removeprefix("own."), tensor) for name, tensor in network.state_dict().items()}
        network.load_state_dict(ours)
        return network

    @property
    def units(self) -> tuple[Block, ...]:
        return tuple(cast(Block, block) for block in self.blocks)

    @property
    def apart(self) -> tuple[nn.Module, ...]:
        """What ``prepare`` runs."""
        return (*run_before(self.units), self.before)

    def prepare(self, text: TextCondition, latent: Tensor, transformer: LinearDiT, scale: float = 1.0) -> Control:
        """Everything that depends on the prompts and the pictures alone.

        Args:
            text: of ``B`` prompts, as the transformer gets it.
            latent: of ``B`` pictures, or of one for all prompts, ``(1, C, H, W)``.
            transformer: beside which it runs.
            scale: 1 is as trained.
        """
        embedders = self.own or transformer
        patch = embedders.config.patch_size
        size = latent.shape[-2] // patch, latent.shape[-1] // patch
        tokens, embeds, places = embedders.read_in(latent, text)
        if self.own is not None:  # upstream's pictures have no positions
            tokens = tokens + self.own.position(size, tokens)
        hint = self.before(tokens).mT.unflatten(-1, size)  # (B, C, h, w)
        rows = text.mask.shape[0]
        return Control(
            network=self,
            hint=hint.expand(rows, -1, -1, -1),
            text=condition_of(self.units, embeds, places, text.mask),
            scale=torch.full((rows,), scale, device=hint.device),
        )

    def forward(self, beside: Beside, control: Control) -> Mapping[int, Tensor]:
        """What is to be added behind blocks of the transformer, by number, ``(B, N, C)`` each, not scaled.

        Raises:
            ShapeError: the picture has another size than the latents.
        """
        height, width = control.hint.shape[-2:]
        hint = control.hint.flatten(2).mT  # (B, N, C)
        if hint.shape[:2] != beside.x.shape[:2]:
            raise ShapeError(f"a picture of {height}x{width} positions does not fit a latent of {beside.x.shape[1]}")
        x, modulation, first = beside.x, beside.modulation, 0
        if self.own is not None:
            x = self.own.tokens(beside.latent)
            x = x + self.own.position((height, width), x)
            modulation, first = self.own.modulate(self.own.time(beside.timestep, None)), 1
        x = x + hint
        added = {}
        for index, (block, after) in enumerate(zip(self.blocks, self.after, strict=True)):
            x = block(x, modulation, control.text.text_of(index), (height, width))
            added[first + index] = after(x)
        return added


def _zero(layer: Linear) -> Linear:
    """With weights of 0, so that training begins with the transformer as it was."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
