"""Pictures of fixed prompts while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.checkpoints.identity.card import ModelCard, VideoDefaults
from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.common.config import to_mapping
from sanakit.evaluation.drawing import Draw, drawing_clips_with, drawing_with
from sanakit.evaluation.reports.clip_sheet import clip_sheet
from sanakit.evaluation.reports.picture_grid import picture_grid
from sanakit.features.encoders import Encoders
from sanakit.features.identity import digest_of
from sanakit.features.work import Painter
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.training.recipes.transformer.starting_model import StartingModel
from sanakit.training.run.run_config import SampleConfig


class SamplePainter:
    """Draws the prompts of a recipe with given weights, at the size of the present stage.

    Args:
        config: prompts, solver steps, seed.
        start: of the run; its encoders come back for the time of the drawing.
        device: where it is drawn.
    """

    def __init__(self, config: SampleConfig, start: StartingModel, *, device: str) -> None:
        self._config, self._start, self._device = config, start, device
        self._card = start.card

    def begin(self, card: ModelCard) -> None:
        """A stage begins that leaves such a model."""
        self._card = card

    def draw(self, weights: Mapping[str, Tensor], step: int) -> Image.Image:
        """One picture per prompt, or a film strip, in a grid; the same weights give the same ones."""
        network = self._start.network(weights)
        config = self._config
        with self._start.encoders.loaded() as encoders:
            bundle = ModelBundle(
                transformer=network.to(self._device).eval().requires_grad_(False),
                autoencoder=encoders.latents,
                text_encoder=encoders.text,
                card=self._card,
            )
            pipeline = TextToImagePipeline(bundle)
            settings: dict[str, Any] = {"num_inference_steps": config.steps, "guidance_scale": config.guidance_scale}
            if isinstance(self._card.defaults, VideoDefaults):
                return clip_sheet(drawing_clips_with(pipeline, **settings), config.prompts, config.seed)
            draw = drawing_with(pipeline, **settings)
            pictures = [draw([prompt], [config.seed])[0] for prompt in config.prompts]
        return picture_grid(pictures, config.prompts, columns=min(6, len(pictures)))


def begun_painter(start: StartingModel, encoders: Encoders, device: str) -> Painter | None:
    """The model of ``init`` as it was before the run, at its own size and settings; None if the network is new.

    It is read from its files once more, so that a run that goes on has the same one.
    """
    found, defaults = start.found, repr(to_mapping(start.card.defaults))
    if found is None:
        return None

    def open_model() -> Draw:
        network = load_network(found, dtype=torch.float32, device=device).eval().requires_grad_(False)
        bundle = ModelBundle(
            transformer=network, autoencoder=encoders.latents, text_encoder=encoders.text, card=start.card
        )
        return drawing_with(TextToImagePipeline(bundle))

    identity = digest_of((start.given, encoders.latent_id, encoders.text_id, defaults))
    return Painter(identity=identity, open=open_model)
