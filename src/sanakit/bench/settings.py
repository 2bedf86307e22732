"""What is to be measured: which shape, which size, which arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import torch

from sanakit.checkpoints.identity.precision import DTYPES, DtypeName
from sanakit.checkpoints.identity.schemes import check_uncalibrated, parse_schemes
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.common.errors import RequestError
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS, LINEAR_DIT_PRESETS
from sanakit.models.text.decoder_config import DecoderConfig
from sanakit.models.transformers.linear_dit import LinearDiTConfig
from sanakit.quantization.schemes import Scheme

StageName = Literal["text", "step", "decode", "encode", "picture", "sprint", "starter", "shell", "training"]
STAGES: tuple[StageName, ...] = get_args(StageName)
GUIDANCE_SCALE = 4.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The networks of a model without their weights."""

    name: str
    transformer: LinearDiTConfig
    autoencoder: DCAutoencoderConfig
    text: DecoderConfig


def _gemma2(**fields: int) -> DecoderConfig:
    """Gemma-2-2B, but for ``fields`` of its ``config.json``."""
    config = decoder_config({"model_type": "gemma2", **fields})
    assert config is not None
    return config


_TINY = stages((8, 8, 16, 16, 32, 32), (1, 1, 1, 1, 1, 1))
_REAL = DC_AE_PRESETS["dc-ae-f32c32-sana-1.1"]
TINY = ModelShape(
    name="tiny",
    transformer=LinearDiTConfig(hidden_size=64, num_layers=2, cross_head_dim=16, head_dim=16, caption_channels=48),
    autoencoder=DCAutoencoderConfig(encoder=_TINY, decoder=_TINY, head_dim=8, scaling_factor=0.4),
    text=_gemma2(
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=16,
    ),
)
SHORT_NAMES: Mapping[str, str] = MappingProxyType({"0.6B": "sana-600m-1024", "1.6B": "sana-1600m-1024"})


def shape_of(name: str) -> ModelShape:
    """The shape called ``0.6B``, ``1.6B`` or ``tiny``, or that of a preset such as ``sana1.5-4800m-1024``.

    Raises:
        RequestError: there is none of that name.
    """
    if name == TINY.name:
        return TINY
    preset = SHORT_NAMES.get(name, name)
    presets = [name for name, config in LINEAR_DIT_PRESETS.items() if not config.guidance_embeds]
    if preset not in presets:
        offered = ", ".join([*SHORT_NAMES, TINY.name, *presets])
        raise RequestError(f"--model {name} is no shape that there is; write one of {offered}")
    return ModelShape(name=name, transformer=LINEAR_DIT_PRESETS[preset], autoencoder=_REAL, text=_gemma2())


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchSettings:
    """One run of the bench.

    ``repeats`` are pairs at most; where ``budget`` seconds are given, a stage ends when its share of them is used, but
    not before one pair.
    """

    model: str = "0.6B"
    height: int = 512
    width: int = 512
    dtype: DtypeName = "float32"
    device: str = "cpu"
    threads: int | None = None  # of the CPU; None: as many as torch takes
    batch: int = 1
    steps: int = 20
    text_layers: int | None = None  # the first so many of the text encoder's; None: all
    quantize: str | None = None  # a scheme of fewer bits for ours, or one by component; the peer keeps plain weights
    seed: int = 0
    repeats: int = 5
    budget: float | None = None
    peer: bool = True  # also measure diffusers, where it is installed

    def __post_init__(self) -> None:
        check_uncalibrated(self.schemes)
        shape = shape_of(self.model)
        granularity = shape.autoencoder.compression * shape.transformer.patch_size
        if self.height % granularity or self.width % granularity or min(self.height, self.width) < granularity:
            raise RequestError(
                f"--size {self.width}x{self.height} does not fit; both sides must be multiples of {granularity} pixels"
            )
        for name in ("batch", "steps", "repeats"):
            if getattr(self, name) < 1:
                raise RequestError(f"--{name} {getattr(self, name)} measures nothing; use 1 or more")

    @property
    def shape(self) -> ModelShape:
        return shape_of(self.model)

    @property
    def schemes(self) -> Mapping[str, Scheme]:
        """Of our networks, by component."""
        return parse_schemes(self.quantize)

    @property
    def torch_dtype(self) -> torch.dtype:
        return DTYPES[self.dtype]

    @property
    def text_dtype(self) -> torch.dtype:
        """Text encoders take no float16."""
        return torch.bfloat16 if self.torch_dtype == torch.float16 else self.torch_dtype

    @property
    def text_shape(self) -> DecoderConfig:
        """With the layers that are made, and a table of the words that the bench needs."""
        whole = self.shape.text
        layers = min(self.text_layers or whole.num_layers, whole.num_layers)
        return replace(whole.first_layers(layers), vocab_size=1024)

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """``(B, C, h, w)``."""
        shape = self.shape
        factor = shape.autoencoder.compression
        return self.batch, shape.transformer.in_channels, self.height // factor, self.width // factor


def parse_stages(text: str) -> tuple[StageName, ...]:
    """``"step,decode"`` in the order of ``STAGES``, each once.

    Raises:
        RequestError: one of the names is unknown, or there is none.
    """
    named = {name.strip() for name in text.split(",") if name.strip()}
    if unknown := named - set(STAGES):
        raise RequestError(f"--stages has no {min(unknown)}; write some of {', '.join(STAGES)}, with commas between")
    if not named:
        raise RequestError(f"--stages names nothing; write some of {', '.join(STAGES)}, with commas between")
    return tuple(stage for stage in STAGES if stage in named)
