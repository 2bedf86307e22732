"""FLUX.1 and Stable Diffusion 3.5 as policies, through diffusers' own networks: the place of training that imports it.

Their transformers predict the same velocity as ours, noise less latent. What their text encoders give is one tensor
here: its first row is the pooled vector, the others are the tokens, each filled with zeros to the wider of the two.

Sources: FLUX.1, black-forest-labs/flux; Stable Diffusion 3, Esser et al., arXiv:2403.03206.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sanakit.adapters.side_paths import Place
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.files.reader import read_json
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.checkpoints.identity.precision import BFLOAT16_LINE, resolve_dtypes
from sanakit.common.errors import CheckpointError, ConfigError, MissingExtraError, first_line
from sanakit.common.paths import as_path
from sanakit.features.encoders import Encoders
from sanakit.models.network import Network
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.text.text_encoder import TextEncoderConfig, TokenCount
from sanakit.models.transformers.condition import Condition
from sanakit.sampling.flow_euler import FlowEuler
from sanakit.training.recipes.transformer.starting_model import NetworkRecipe, StartingModel, with_adapter

PREFIX = "diffusers:"
_GUIDANCE = 3.5  # that FLUX.1-dev is told, which was distilled from guidance
_COMPRESSION = 8  # of the autoencoders of both
_PUBLISHED: Mapping[str, tuple[str, dict[str, Any]]] = {  # by the end of a name: class and config, to plan with
    "FLUX.1-dev": ("FluxTransformer2DModel", {"guidance_embeds": True}),
    "FLUX.1-schnell": ("FluxTransformer2DModel", {}),
    "stable-diffusion-3.5-large": (
        "SD3Transformer2DModel",
        {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192,
         "qk_norm": "rms_norm"},
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class PolicyConfig:
    """What a pipeline of ours asks of a network, whose text is ``pooled_channels`` and then tokens of
    ``token_channels``."""

    in_channels: int
    token_channels: int
    pooled_channels: int
    patch_size: int = 2

    @property
    def caption_channels(self) -> int:
        return max(self.token_channels, self.pooled_channels)


class DiffusersPolicy(Network):
    """A transformer of diffusers with our face.

    Args:
        network: of diffusers.
        in_channels: of a latent.
    """

    outside_forward: ClassVar = ("prepare",)

    def __init__(self, network: Any, in_channels: int) -> None:
        super().__init__()
        self.network, own = network, network.config
        self.config = PolicyConfig(
            in_channels=in_channels, token_channels=own.joint_attention_dim, pooled_channels=own.pooled_projection_dim
        )

    @property
    def units(self) -> tuple[nn.Module, ...]:
        lists = (getattr(self.network, name, ()) for name in ("transformer_blocks", "single_transformer_blocks"))
        return tuple(chain.from_iterable(lists))

    def prepare(self, text: TextCondition) -> Condition:
        """Nothing of these networks depends on the prompt alone: the text as it is."""
        packed = text.embeds.to(self.compute_dtype)[:, None]  # (B, 1, 1 + L, C)
        return Condition(keys=(packed,), values=(), mask=text.mask[:, None, None, :])

    def _told(self, condition: Condition) -> dict[str, Tensor]:
        """Tokens ``(B, L, C)`` and the pooled vector ``(B, P)``."""
        packed = condition.keys[0][:, 0]
        return {
            "encoder_hidden_states": packed[:, 1:, : self.config.token_channels],
            "pooled_projections": packed[:, 0, : self.config.pooled_channels],
        }


class Flux(DiffusersPolicy):
    """FLUX.1, which reads squares of 2 x 2 positions of a latent as tokens."""

    def __init__(self, network: Any) -> None:
        super().__init__(network, network.config.in_channels // 4)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Velocity ``(B, C, H, W)`` of noisy latents of that shape, at ``timestep (B,)``, 1000 times sigma."""
        height, width = latent.shape[-2] // 2, latent.shape[-1] // 2
        x = latent.unflatten(-1, (width, 2)).unflatten(-3, (height, 2))  # (B, C, h, 2, w, 2)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, h * w, C * 4)
        told = self._told(condition)
        rows = torch.arange(height, device=x.device).repeat_interleave(width)
        columns = torch.arange(width, device=x.device).repeat(height)
        places = torch.stack([torch.zeros_like(rows), rows, columns], dim=1).to(x.dtype)  # (h * w, 3)
        v = self.network(
            hidden_states=x,
            timestep=timestep.to(x.dtype) / 1000,
            guidance=x.new_full(x.shape[:1], _GUIDANCE) if self.network.config.guidance_embeds else None,
            img_ids=places,
            txt_ids=places.new_zeros(told["encoder_hidden_states"].shape[1], 3),
            return_dict=False,
            **told,
        )[0]
        v = v.unflatten(1, (height, width)).unflatten(-1, (-1, 2, 2))  # (B, h, w, C, 2, 2)
        return cast(Tensor, v.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3))  # (B, C, H, W)


class StableDiffusion3(DiffusersPolicy):
    """Stable Diffusion 3 and 3.5."""

    def __init__(self, network: Any) -> None:
        super().__init__(network, network.config.in_channels)

    def forward(self, latent: Tensor, timestep: Tensor, condition: Condition) -> Tensor:
        """Velocity ``(B, C, H, W)`` of noisy latents of that shape, at ``timestep (B,)``, 1000 times sigma."""
        told = self._told(condition)
        return cast(Tensor, self.network(latent, timestep=timestep.to(latent.dtype), return_dict=False, **told)[0])


_POLICIES: Mapping[str, type[Flux] | type[StableDiffusion3]] = {
    "FluxTransformer2DModel": Flux,
    "SD3Transformer2DModel": StableDiffusion3,
}
_TOKENS = {"Flux": 512, "StableDiffusion3": 256}  # of T5, as their pipelines read
_PIPELINES = ("FluxPipeline", "StableDiffusion3Pipeline")


class DiffusersText:
    """The text encoders of a pipeline, all of whose texts have one length; prompts are kept."""

    libraries = ("diffusers", "transformers")
    attention = "sdpa"

    def __init__(self, pipeline: Any, config: PolicyConfig, num_tokens: int) -> None:
        self._pipeline, self._width, self._num_tokens = pipeline, config.caption_channels, num_tokens
        parts = {name: part for name, part in pipeline.components.items() if name.startswith("text_encoder") and part}
        self.model = nn.ModuleDict(parts).eval().requires_grad_(False)
        self.tokenizer, self.hidden_size = pipeline.tokenizer, self._width
        self._longest = getattr(pipeline, "tokenizer_3", None) or pipeline.tokenizer_2
        self.config = TextEncoderConfig(max_tokens=num_tokens + 1, instruction="")
        self._kept = lru_cache(maxsize=self.config.num_cached_prompts)(self._encode)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def compute_dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def state_dict(self) -> dict[str, Tensor]:
        return self.model.state_dict()

    def encode_one(self, text: str, with_instruction: bool) -> TextCondition:
        """One row; these models know no instruction."""
        return self._kept(text)

    def encode_null(self, negative: str = "") -> TextCondition:
        return self._kept(negative)

    def count_tokens(self, text: str, *, with_instruction: bool = True) -> TokenCount:
        """As T5 reads it, which reads further than CLIP."""
        number = len(self._longest(text)["input_ids"])
        return TokenCount(min(number, self._num_tokens), max(0, number - self._num_tokens))

    @torch.no_grad()
    def _encode(self, text: str) -> TextCondition:
        other = {"prompt_3": text, "do_classifier_free_guidance": False} if "text_encoder_3" in self.model else {}
        given = self._pipeline.encode_prompt(
            prompt=text, prompt_2=text, device=self.device, max_sequence_length=self._num_tokens, **other
        )
        tokens, pooled = given[0], given[2] if other else given[1]  # (1, L, C), (1, P)
        rows = [F.pad(each, (0, self._width - each.shape[-1])) for each in (pooled[:, None], tokens)]
        packed = torch.cat(rows, dim=1)  # (1, 1 + L, width)
        return TextCondition(packed, torch.ones(packed.shape[:2], dtype=torch.bool, device=packed.device))


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderShape:
    """What a pipeline of ours asks of an autoencoder; the bytes are an estimate, not measured."""

    latent_channels: int
    channels: int  # at most of the pictures' resolution
    compression: int = _COMPRESSION
    temporal_compression: int = 1
    in_bands: ClassVar[bool] = False

    def decode_bytes(self, height: int, width: int) -> int:
        return 16 * self.largest_tensor(height, width)

    def largest_tensor(self, height: int, width: int) -> int:
        return self.channels * height * width


class DiffusersAutoencoder(Network):
    """An ``AutoencoderKL`` whose latents are scaled as the transformer reads them."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae, channels = vae, vae.config.block_out_channels
        self.config = AutoencoderShape(
            latent_channels=vae.config.latent_channels, channels=channels[min(1, len(channels) - 1)],
            compression=2 ** (len(channels) - 1),
        )  # fmt: skip

    @property
    def encoder(self) -> nn.Module:
        return cast(nn.Module, self.vae.encoder)

    def decode(self, latent: Tensor) -> Tensor:
        """``(B, C, h, w)`` to pixels ``(B, 3, H, W)`` in about [-1, 1]."""
        own = self.vae.config
        pixels: Tensor = self.vae.decode(latent / own.scaling_factor + (own.shift_factor or 0), return_dict=False)[0]
        return pixels


def is_of_diffusers(recipe: NetworkRecipe) -> bool:
    return recipe.init is not None and recipe.init.startswith(PREFIX)


def planned_network(init: str) -> tuple[DiffusersPolicy, int, int]:
    """The network of ``diffusers:FOLDER`` without its weights, on the device of the present ``torch.device`` block, and
    of what is published also where the folder is not there; pixels of a side per latent position; rows of a text."""
    folder = as_path(init.removeprefix(PREFIX))
    if (folder / "transformer").is_dir():
        fields = read_json(folder / "transformer" / "config.json")
        name = str(fields.get("_class_name"))
        fields = {key: value for key, value in fields.items() if not key.startswith("_")}
    else:
        name, fields = _PUBLISHED.get(folder.name, ("", {}))
    if name not in _POLICIES:
        raise CheckpointError(f"{init} is no folder with a FLUX.1 or Stable Diffusion 3 that diffusers wrote")
    policy = _POLICIES[name]
    return policy(getattr(_diffusers(), name)(**fields)), _COMPRESSION, 1 + _TOKENS[policy.__name__]


def diffusers_start(recipe: NetworkRecipe, device: str) -> StartingModel:
    """What a run begins with, as `starting_model` says of ours: the transformer in float32.

    Raises:
        ConfigError: there is no ``adapter:``.
        CheckpointError: the folder cannot be read.
        MissingExtraError: diffusers is not installed.
    """
    assert recipe.init is not None
    if recipe.adapter is None:
        raise ConfigError(f"{recipe.init} learns as an adapter: beside it alone; add adapter: {{kind: lora}}")
    folder = as_path(recipe.init.removeprefix(PREFIX))
    pipeline = _pipeline(folder, device)
    kind = _POLICIES[type(pipeline.transformer).__name__]

    def again() -> Any:
        own: Any = type(pipeline.transformer)
        return kind(own.from_pretrained(folder / "transformer", **_reading()))

    network = kind(pipeline.transformer).to(device)
    text = DiffusersText(pipeline, network.config, _TOKENS[kind.__name__])
    encoders = Encoders(
        autoencoder=lambda: cast(Any, DiffusersAutoencoder(pipeline.vae).to(device)), text=lambda: cast(Any, text)
    )
    given = hash_tensors(network.state_dict())
    start = StartingModel(
        cast(Any, network), encoders, _card(folder.name, pipeline, given), brings_text_encoder=False, given=given,
        layers=layers_of(network), again=again,
    )  # fmt: skip
    return with_adapter(start, recipe.adapter, recipe.seed)


def _pipeline(folder: Path, device: str) -> Any:
    """With its text encoders in the dtype that pictures are made with, and the rest in float32."""
    name = str(read_json(folder / "model_index.json").get("_class_name")) if folder.is_dir() else ""
    if name not in _PIPELINES:
        raise CheckpointError(f"{folder} is no folder of {' or '.join(_PIPELINES)} that diffusers wrote")
    try:
        pipeline = getattr(_diffusers(), name).from_pretrained(folder, **_reading())
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} cannot be read: {first_line(error)}") from error
    for part, module in pipeline.components.items():
        if part.startswith("text_encoder") and module is not None:
            module.to(device, resolve_dtypes(BFLOAT16_LINE, None, device)["text_encoder"])
    pipeline.vae.to(device)
    return pipeline


def _reading() -> dict[str, Any]:
    """How diffusers reads: in float32, from this machine, no code with weights; with accelerate without random ones."""
    quick = importlib.util.find_spec("accelerate") is not None
    return {"dtype": torch.float32, "local_files_only": True, "use_safetensors": True, "low_cpu_mem_usage": quick}


def _diffusers() -> Any:
    try:
        import diffusers
    except ImportError as error:
        raise MissingExtraError(
            "this model needs diffusers; install it with: pip install 'sanakit[diffusers]'"
        ) from error
    return diffusers


def _card(name: str, pipeline: Any, given: str) -> ModelCard:
    """Pictures of 1024 px in straight steps, shifted as the scheduler shifts those."""
    own, network = pipeline.scheduler.config, pipeline.transformer.config
    size = getattr(network, "sample_size", 128) * 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    shift = own.shift
    if own.use_dynamic_shifting:
        tokens = (size // 2 ** len(pipeline.vae.config.block_out_channels)) ** 2
        share = (tokens - own.base_image_seq_len) / (own.max_image_seq_len - own.base_image_seq_len)
        shift = math.exp(own.base_shift + share * (own.max_shift - own.base_shift))
    defaults = ImageDefaults(
        base_size=size, flow_shift=shift, solver=FlowEuler.name, num_inference_steps=28, guidance_scale=1.0
    )
    return ModelCard(
        name=name, family="diffusers", defaults=defaults, precision=BFLOAT16_LINE, trained_from=f"{name} ({given[:12]})"
    )


def layers_of(network: DiffusersPolicy) -> Layers:
    """Every linear layer, under its name in diffusers."""
    places = {
        name.removeprefix("network."): Place(layer=name, start=0, out_features=rows, in_features=columns)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear)
        for rows, columns in [layer.weight.shape]
    }
    flat = {name.replace(".", "_"): place for name, place in places.items()}
    return Layers(places, places, flat, frozenset())
