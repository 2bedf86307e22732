"""One denoising step, decoding and encoding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sanakit.bench.case import Case, Run
from sanakit.bench.floors import Work, counted_flops
from sanakit.bench.peer import peer_network
from sanakit.bench.random_weights import built, random_autoencoder, random_transformer
from sanakit.bench.settings import GUIDANCE_SCALE, BenchSettings
from sanakit.common.seeds import draw_noise
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.network import state_bytes
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.compiled_step import Step
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.pipelines.decoding.decode import decode_latent
from sanakit.pipelines.denoise import Denoiser, PictureJob, StepTaken, rows_per_call
from sanakit.sampling.flow_dpm import FlowDPM
from sanakit.sampling.guidance import ClassifierFreeGuidance

PROMPT_TOKENS = 28  # of a prompt of some twenty words
TEXT_POSITIONS = 300  # what diffusers pads every text to


def step_case(settings: BenchSettings) -> Case:
    """The velocities of ``batch`` guided pictures: two rows each, prompt and no prompt."""
    config, device, dtype = settings.shape.transformer, settings.device, settings.torch_dtype
    state = random_transformer(config, settings.seed, dtype)
    ours = built(state, device, settings.schemes.get("transformer"))
    prompt, null = bench_texts(config, settings)
    latent = draw_noise(settings.latent_shape, settings.seed).to(device)
    guidance = ClassifierFreeGuidance(scale=GUIDANCE_SCALE)

    def steps_of(prompt: TextCondition) -> Run:
        conditions = {"conditional": ours.prepare(prompt), "unconditional": ours.prepare(null)}
        return DenoisingSteps(ours, latent, guidance, conditions, settings.steps)

    other = TextCondition(prompt.embeds.clone(), prompt.mask)
    other.embeds[:, :1] *= 1.1
    return Case(
        ours=steps_of(prompt),
        peer=_peer_step(settings, state, latent, (null, prompt)) if settings.peer else None,
        control=steps_of(other),
        work=step_work(settings),
        weights=state_bytes(ours.state_dict()),
        note=f"{settings.batch} guided, {PROMPT_TOKENS} text tokens",
    )


def _peer_step(settings: BenchSettings, state: Any, latent: Tensor, texts: tuple[TextCondition, TextCondition]) -> Run:
    return peer_step(peer_network(state, on_device(state.tensors, settings.device)), settings, latent, texts)


def peer_step(network: Any, settings: BenchSettings, latent: Tensor, texts: tuple[TextCondition, TextCondition]) -> Run:
    """The same velocities by diffusers' network, of the empty text and the prompt, in that order."""
    embeds, mask = _padded([text for text in texts for _ in range(settings.batch)])
    timestep = FlowDPM(num_steps=settings.steps, flow_shift=3.0).schedule().timesteps[0]
    both = torch.cat([latent, latent]).to(settings.torch_dtype)
    time = torch.full((len(both),), timestep, device=both.device)

    def step() -> Tensor:
        velocity = network(both, encoder_hidden_states=embeds, encoder_attention_mask=mask, timestep=time).sample
        low, high = velocity.float().chunk(2)
        return low + GUIDANCE_SCALE * (high - low)

    return step


class DenoisingSteps:
    """One step of every picture of a batch a call, as a pipeline makes it; a new run begins when one has ended.

    ``step`` is what a denoiser may be given in the network's place.
    """

    def __init__(
        self,
        transformer: LinearDiT,
        latent: Tensor,
        guidance: ClassifierFreeGuidance,
        conditions: Any,
        num_steps: int,
        step: Step | None = None,
    ) -> None:
        together = max(rows_per_call(latent.device, latent.shape[1:]) // 2, 1)
        self.groups = [(Denoiser[int](transformer, step=step), group) for group in latent.split(together)]
        self.guidance, self.conditions = guidance, conditions
        self.solver = FlowDPM(num_steps=num_steps, flow_shift=3.0)

    def __call__(self) -> Tensor:
        """Velocities ``(B, C, h, w)`` of the next step."""
        velocities = []
        for denoiser, latents in self.groups:
            if not len(denoiser):
                for key, latent in enumerate(latents.split(1)):
                    solver = self.solver.start(latent, lambda step: torch.zeros(()))
                    denoiser.add(key, PictureJob(solver=solver, guidance=self.guidance, conditions=self.conditions))
            velocities += [event.velocity for event in denoiser.round() if isinstance(event, StepTaken)]
        return torch.cat(velocities)


def step_work(settings: BenchSettings) -> Work:
    """Of two rows a picture, with what depends on the prompt alone done before."""
    config, batch = settings.shape.transformer, 2 * settings.batch
    with torch.device("meta"):
        network = LinearDiT(config)
        text = TextCondition(
            torch.empty(batch, PROMPT_TOKENS, config.caption_channels),
            torch.empty(batch, PROMPT_TOKENS, dtype=torch.bool),
        )
        latent = torch.empty(batch, *settings.latent_shape[1:])
        time = torch.empty(batch)
        condition = network.prepare(text)
    weights = settings.torch_dtype.itemsize * sum(parameter.numel() for parameter in network.parameters())
    return Work(flops=counted_flops(lambda: network(latent, time, condition)), bytes=weights + 2 * latent.nbytes)


def decode_case(settings: BenchSettings) -> Case:
    """Latents to pixels."""
    state = random_autoencoder(settings.shape.autoencoder, settings.seed, settings.torch_dtype)
    ours = built(state, settings.device, settings.schemes.get("autoencoder"))
    latent = draw_noise(settings.latent_shape, settings.seed).to(settings.device, settings.torch_dtype)
    other = latent.clone()
    other[..., :1, :1] *= 1.1
    return Case(
        ours=lambda: decode_latent(ours, latent),
        peer=_peer_decode(settings, state, latent) if settings.peer else None,
        control=lambda: decode_latent(ours, other),
        work=autoencoder_work(settings, decode=True),
        weights=state_bytes(ours.decoder.state_dict()),
    )


def encode_case(settings: BenchSettings) -> Case:
    """Pixels to scaled latents."""
    state = random_autoencoder(settings.shape.autoencoder, settings.seed, settings.torch_dtype)
    ours = built(state, settings.device, settings.schemes.get("autoencoder"))
    shape = (settings.batch, 3, settings.height, settings.width)
    pixels = draw_noise(shape, settings.seed).to(settings.device, settings.torch_dtype)
    other = pixels.clone()
    other[..., :32, :32] *= 1.1
    return Case(
        ours=lambda: ours.encode(pixels),
        peer=_peer_encode(settings, state, pixels) if settings.peer else None,
        control=lambda: ours.encode(other),
        work=autoencoder_work(settings, decode=False),
        weights=state_bytes(ours.encoder.state_dict()),
    )


def autoencoder_work(settings: BenchSettings, *, decode: bool) -> Work:
    """Of one call; the arithmetic of plain convolutions, which a shorter algorithm may go below."""
    with torch.device("meta"):
        network = DCAutoencoder(settings.shape.autoencoder)
        latent = torch.empty(settings.latent_shape)
        pixels = torch.empty(settings.batch, 3, settings.height, settings.width)
    half = network.decoder if decode else network.encoder
    weights = sum(parameter.numel() for parameter in half.parameters())
    flops = counted_flops((lambda: network.decode(latent)) if decode else (lambda: network.encode(pixels)))
    size = settings.torch_dtype.itemsize
    return Work(flops=flops, bytes=size * (weights + latent.numel() + pixels.numel()))


def on_device(tensors: Any, device: str) -> dict[str, Tensor]:
    """The same memory where they are there already."""
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _peer_decode(settings: BenchSettings, state: Any, latent: Tensor) -> Run:
    network: Any = peer_network(state, on_device(state.tensors, settings.device))
    return lambda: network.decode(latent / state.config.scaling_factor).sample


def _peer_encode(settings: BenchSettings, state: Any, pixels: Tensor) -> Run:
    network: Any = peer_network(state, on_device(state.tensors, settings.device))
    return lambda: network.encode(pixels).latent * state.config.scaling_factor


def bench_texts(config: LinearDiTConfig, settings: BenchSettings) -> tuple[TextCondition, TextCondition]:
    """A prompt and the empty one: one token, which is all that an empty prompt has."""
    embeds = draw_noise((1, PROMPT_TOKENS + 1, config.caption_channels), settings.seed + 1)
    embeds = embeds.to(settings.device, settings.torch_dtype)
    mask = torch.ones(embeds.shape[:2], dtype=torch.bool, device=settings.device)
    return TextCondition(embeds[:, 1:], mask[:, 1:]), TextCondition(embeds[:, :1], mask[:, :1])


def _padded(texts: list[TextCondition]) -> tuple[Tensor, Tensor]:
    """As diffusers gives them to its network."""
    embeds = [torch.nn.functional.pad(t.embeds, (0, 0, 0, TEXT_POSITIONS - t.embeds.shape[1])) for t in texts]
    masks = [torch.nn.functional.pad(t.mask, (0, TEXT_POSITIONS - t.mask.shape[1])) for t in texts]
    return torch.cat(embeds), torch.cat(masks).long()
