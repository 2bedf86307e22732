"""Finished clips made finer by LTX-2: larger, taken a part of the way back to noise, and its last steps done again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from sanakit.checkpoints.refiner import CONNECTORS, REFINER, TEXT_ENCODER, UPSAMPLER, OpenedRefiner, RefinerBundle
from sanakit.common.errors import DecodeMemoryError, RequestError
from sanakit.common.free_memory import is_out_of_memory
from sanakit.common.seeds import derived_seed, draw_noise
from sanakit.models.autoencoders.clips import ClipAutoencoder
from sanakit.models.autoencoders.ltx2 import LTX2Autoencoder
from sanakit.models.transformers.condition import Condition
from sanakit.models.transformers.ltx2_video import TRAINED_FPS
from sanakit.pipelines.clips.frames import without_first_frame
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.record import RefinerReference
from sanakit.pipelines.request import GenerationRequest
from sanakit.sampling.driver import drive
from sanakit.sampling.evaluation import Evaluation
from sanakit.sampling.truncated_flow import TruncatedFlow

OnStep = Callable[[int, Tensor], None]
Need = Callable[[str], None]


class Refiner:
    """A network that goes over finished latents; the first frame of each is a sink and stays as it is.

    Args:
        bundle: its networks.
        autoencoder: of the latents; it is LTX-2's, which both stages share.
        flow: the noise levels.
        need: is told the name of a network before that is used, where networks take turns in memory.

    Raises:
        RequestError: the latents are not those that it reads.
    """

    def __init__(
        self,
        bundle: RefinerBundle,
        autoencoder: ClipAutoencoder,
        flow: TruncatedFlow | None = None,
        need: Need = lambda name: None,
    ) -> None:
        check_refiner(bundle.opened, autoencoder)
        assert isinstance(autoencoder, LTX2Autoencoder)
        self.bundle, self.autoencoder, self.flow, self.need = bundle, autoencoder, flow or TruncatedFlow(), need

    @property
    def num_steps(self) -> int:
        return len(self.flow.sigmas)

    @property
    def reference(self) -> RefinerReference:
        """As records name it; its weights are read once, for their hash."""
        return RefinerReference(name=self.bundle.opened.name, hash=self.bundle.hash, scale=self.bundle.opened.scale)

    @torch.no_grad()
    def __call__(
        self, latent: Tensor, request: GenerationRequest, prompt: str, on_step: OnStep = lambda index, latent: None
    ) -> Tensor:
        """A finished latent ``(1, C, T, h, w)`` to one of ``scale`` times the sides, both float32.

        Args:
            latent: as its network made it.
            request: a complete one, which says the seed and frames a second.
            prompt: as the model was told it, without a motion score.
            on_step: told the number of a step, from 0, and the clean latent that it implies.
        """
        larger = self._larger(latent)
        noise = draw_noise(larger.shape[1:], derived_seed("refine", request.seed))[None].to(larger.device)
        noise[:, :, :1] = larger[:, :, :1]  # the same under any share of itself
        condition = self._told(prompt, getattr(request, "fps", None) or TRAINED_FPS).with_clean(larger.shape[2])
        transformer = self.bundle.transformer  # whose turn it is since it was told

        def velocity(wish: Evaluation) -> Tensor:
            time = torch.full((1,), wish.timestep, device=transformer.device)
            found = transformer(wish.latent.to(transformer.compute_dtype), time, condition).float()
            return without_first_frame(wish, found)

        refined = drive(self.flow.start(larger, noise), velocity, lambda wish, clean: on_step(wish.index, clean))
        return torch.cat([larger[:, :, :1], refined[:, :, 1:]], dim=2)

    def _told(self, prompt: str, fps: float) -> Condition:
        """What the network is told of the prompt, and how quickly frames follow one another."""
        self.need(TEXT_ENCODER)
        states = self.bundle.text_encoder.every_state(prompt)
        self.need(CONNECTORS)
        text = self.bundle.connectors(states.to(self.bundle.connectors.device))
        self.need(REFINER)
        return self.bundle.transformer.prepare(text).with_fps(fps)

    def _larger(self, latent: Tensor) -> Tensor:
        """Where there is an upsampler, which reads latents as the autoencoder gives them."""
        network, latent = self.bundle.upsampler, latent.float()
        if network is None:
            return latent
        mean, std = (each.to(latent.device) for each in self._spread)
        self.need(UPSAMPLER)
        return (network((latent * std + mean).to(network.compute_dtype)).float() - mean) / std

    @cached_property
    def _spread(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the autoencoder's latents ``(C, 1, 1, 1)``."""
        self.need("autoencoder")
        mean, std = (each.float()[:, None, None, None] for each in (self.autoencoder.mean, self.autoencoder.std))
        return mean, std


def refined_or_kept(
    refiner: Refiner, plain: SavedLatent, prompt: str, on_step: OnStep, save_latent: Callable[[], str]
) -> Tensor:
    """The refined latent of a clip.

    Raises:
        DecodeMemoryError: it does not fit into memory; the latent as the model made it was saved.
    """
    try:
        return refiner(plain.latent, plain.record.request, prompt, on_step)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DecodeMemoryError(
            f"{refiner.bundle.opened.name} could not refine the clip in the memory that is free; the latent as the "
            f"model made it is safe, so free some memory, or have it as it is by: sanakit decode {save_latent()}"
        ) from error


def check_refiner(refiner: OpenedRefiner, autoencoder: object) -> None:
    """Raises RequestError where a refiner does not read the latents of an autoencoder, by its config or itself."""
    config = getattr(autoencoder, "config", autoencoder)
    reach = tuple(getattr(config, name, 1) for name in ("temporal_compression", "compression", "compression"))
    own = refiner.config
    if (getattr(config, "latent_channels", 0), reach) != (own.in_channels, own.reach) or not hasattr(config, "steps"):
        raise RequestError(
            f"{refiner.name} refines latents of LTX-2's autoencoder, of {own.in_channels} channels, and this model's "
            f"are others; leave --refine out, or take a model with that autoencoder."
        )
