"""sanakit as Replicate's ``cog`` serves models; every field is one of ``GenerationRequest``."""

from __future__ import annotations

import os
import tempfile

from cog import BasePredictor, Input, Path


class Predictor(BasePredictor):
    def setup(self) -> None:
        """Load the model that ``SANAKIT_MODEL`` names, a folder or a hub id, once."""
        from sanakit.checkpoints.opening import open_model
        from sanakit.common.devices import resolve_device
        from sanakit.pipelines.text_to_image import TextToImagePipeline

        opened = open_model(os.environ.get("SANAKIT_MODEL", "starter"), device=resolve_device("auto"))
        self.pipeline = TextToImagePipeline(opened.load())

    def predict(
        self,
        prompt: str = Input(description="What is to be seen"),
        negative_prompt: str = Input(description="What is not", default=""),
        width: int = Input(description="Pixels; 0 for the model's own", default=0, ge=0),
        height: int = Input(description="Pixels; 0 for the model's own", default=0, ge=0),
        num_inference_steps: int = Input(description="0 for the model's own", default=0, ge=0),
        guidance_scale: float = Input(description="1 is off; 0 for the model's own", default=0.0, ge=0),
        num_images: int = Input(description="Pictures, each with a seed of its own", default=1, ge=1, le=8),
        seed: int = Input(description="-1 for any", default=-1, ge=-1),
        output_format: str = Input(description="Of the files", default="png", choices=["png", "jpeg", "webp"]),
    ) -> list[Path]:
        """Files with their record inside."""
        from sanakit.pipelines.picture_file import write_image
        from sanakit.pipelines.request import GenerationRequest

        given = {"width": width, "height": height, "num_inference_steps": num_inference_steps}
        request = GenerationRequest(
            prompt=prompt,
            negative_prompt=negative_prompt,
            num_images=num_images,
            guidance_scale=guidance_scale or None,
            seed="random" if seed < 0 else seed,
            **{name: value or None for name, value in given.items()},
        )
        folder = tempfile.mkdtemp()
        files = []
        for number, image in enumerate(self.pipeline(request).images):
            path = f"{folder}/{number}.{output_format}"
            files.append(Path(write_image(path, image.picture, image.record, output_format)))
        return files
