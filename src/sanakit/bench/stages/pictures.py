"""Whole pictures: prompt in, pixels out, by our pipeline and by diffusers'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from sanakit.bench.case import Case, Run
from sanakit.bench.floors import Work
from sanakit.bench.peer import peer_language_model, peer_network, peer_pipeline, peer_tokenizer
from sanakit.bench.random_weights import built, random_autoencoder, random_transformer
from sanakit.bench.settings import GUIDANCE_SCALE, BenchSettings
from sanakit.bench.stages.networks import autoencoder_work, step_work
from sanakit.bench.stages.text import PROMPT, TEXT, random_text_encoder, text_work
from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import PrecisionPolicy
from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.kind import NetworkState
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.opening import load_bundle
from sanakit.common.seeds import draw_noise
from sanakit.models.network import state_bytes
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.quantize import quantize_

SPRINT_STEPS = 2
STARTER_PROMPT = "two red apples"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What is drawn, from which noise ``(B, C, h, w)``."""

    prompt: str
    height: int
    width: int
    steps: int
    scale: float
    noise: Tensor

    @property
    def settings(self) -> dict[str, Any]:
        """As both pipelines call them."""
        return {
            "height": self.height,
            "width": self.width,
            "num_inference_steps": self.steps,
            "guidance_scale": self.scale,
            "use_resolution_binning": False,
        }


def picture_case(settings: BenchSettings) -> Case:
    """All steps with guidance."""
    return _random_picture(settings, settings.steps, GUIDANCE_SCALE)


def sprint_case(settings: BenchSettings) -> Case:
    """What a picture of SANA-Sprint costs: two steps of one row each."""
    return _random_picture(settings, SPRINT_STEPS, 1.0)


def starter_case(settings: BenchSettings) -> Case:
    """The model that ships, as it draws when nothing is said, once it is loaded; in float32 on any machine."""
    bundle = load_bundle("starter", device=settings.device, dtype="float32")
    defaults, channels = bundle.card.defaults, bundle.transformer.config.in_channels
    side = defaults.base_size // bundle.autoencoder.config.compression
    wish = Wish(
        prompt=STARTER_PROMPT,
        height=defaults.base_size,
        width=defaults.base_size,
        steps=defaults.num_inference_steps,
        scale=defaults.guidance_scale,
        noise=draw_noise((1, channels, side, side), settings.seed),
    )
    return _case(bundle, wish, settings, work=None, note=f"{defaults.base_size} px, {wish.steps} steps, a known prompt")


def _random_picture(settings: BenchSettings, steps: int, scale: float) -> Case:
    shape, seed = settings.shape, settings.seed
    bundle = ModelBundle(
        transformer=built(random_transformer(shape.transformer, seed, settings.torch_dtype), settings.device),
        autoencoder=built(random_autoencoder(shape.autoencoder, seed, settings.text_dtype), settings.device),
        text_encoder=random_text_encoder(settings),
        card=_card(settings),
    )
    noise = draw_noise(settings.latent_shape, seed)
    wish = Wish(prompt=PROMPT, height=settings.height, width=settings.width, steps=steps, scale=scale, noise=noise)
    guided = scale > 1.0
    note = f"{steps} steps{'' if guided else ' without guidance'}, {settings.text_shape.num_layers} layers of text"
    return _case(bundle, wish, settings, work=_work(settings, steps, guided=guided), note=note)


def _case(bundle: ModelBundle, wish: Wish, settings: BenchSettings, *, work: Work | None, note: str) -> Case:
    peer = _peer_picture(bundle, wish) if settings.peer else None
    networks = {**bundle.components, "text_encoder": bundle.text_encoder.model}
    for name, scheme in settings.schemes.items():
        quantize_(cast(nn.Module, networks[name]), scheme)
    pipeline = TextToImagePipeline(bundle)

    def ours(prompt: str = wish.prompt) -> Tensor:
        drawn = pipeline(prompt, latents=wish.noise, output="tensor", num_images=len(wish.noise), **wish.settings)
        return torch.stack([image.pixels for image in drawn.images if image.pixels is not None]).clamp(-1, 1)

    return Case(
        ours=ours,
        peer=peer,
        control=lambda: ours(f"{wish.prompt} red"),
        work=work,
        weights=sum(state_bytes(part.state_dict()) for part in networks.values()),
        is_picture=True,
        note=note,
    )


def _peer_picture(bundle: ModelBundle, wish: Wish) -> Run:
    transformer = NetworkState.of(LINEAR_DIT, bundle.transformer)
    autoencoder = NetworkState.of(DC_AE, bundle.autoencoder)
    tokenizer: Any = bundle.text_encoder.tokenizer
    names = {name: value for name, value in tokenizer.settings.items() if name in ("bos_token", "pad_token")}
    pipeline = peer_pipeline(
        flow_shift=bundle.card.defaults.flow_shift,
        transformer=peer_network(transformer, transformer.tensors),
        vae=peer_network(autoencoder, autoencoder.tensors),
        text_encoder=peer_language_model(bundle.text_encoder.model),
        tokenizer=peer_tokenizer(tokenizer.backend_tokenizer, names),
    )
    text = bundle.text_encoder.config

    def draw() -> Tensor:
        drawn = pipeline(
            wish.prompt,
            latents=wish.noise.to(bundle.transformer.device),
            num_images_per_prompt=len(wish.noise),
            output_type="pt",
            complex_human_instruction=[text.instruction_text],
            max_sequence_length=text.max_tokens,
            **wish.settings,
        )
        pixels: Tensor = drawn.images
        return 2 * pixels - 1

    return draw


def _work(settings: BenchSettings, steps: int, *, guided: bool) -> Work:
    """Text, steps and decoding; a step without guidance has half the rows."""
    step = step_work(settings)
    if not guided:
        step = Work(flops=step.flops / 2, bytes=step.bytes)
    return text_work(settings) + step.times(steps) + autoencoder_work(settings, decode=True)


def _card(settings: BenchSettings) -> ModelCard:
    """With hashes, as a model from files has them: nothing is read again to name it in records."""
    return ModelCard(
        name=f"random {settings.model}",
        family="sana",
        defaults=ImageDefaults(base_size=round((settings.height * settings.width) ** 0.5)),
        precision=PrecisionPolicy({"transformer": (settings.dtype,)}),
        text=TEXT,
        hashes=dict.fromkeys(("transformer", "autoencoder", "text_encoder"), "0" * 64),
    )
