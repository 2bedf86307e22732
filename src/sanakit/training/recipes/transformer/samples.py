"""Pictures of fixed prompts while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image
from torch import Tensor

from sanakit.checkpoints.bundle import ModelBundle
from sanakit.evaluation.drawing import drawing_with
from sanakit.evaluation.reports.picture_grid import picture_grid
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

    def begin(self, resolution: int, flow_shift: float) -> None:
        """A stage with this size and shift begins."""
        self._card = self._start.card_for(resolution, flow_shift)

    def draw(self, weights: Mapping[str, Tensor], step: int) -> Image.Image:
        """One picture per prompt, in a grid; the same weights give the same pictures."""
        network = self._start.network(weights)
        config = self._config
        with self._start.encoders.loaded() as encoders:
            bundle = ModelBundle(
                transformer=network.to(self._device).eval().requires_grad_(False),
                autoencoder=encoders.autoencoder,
                text_encoder=encoders.text,
                card=self._card,
            )
            draw = drawing_with(
                TextToImagePipeline(bundle), num_inference_steps=config.steps, guidance_scale=config.guidance_scale
            )
            pictures = [draw([prompt], [config.seed])[0] for prompt in config.prompts]
        return picture_grid(pictures, config.prompts, columns=min(6, len(pictures)))
