"""A demo in Gradio over the pipeline: ``python -m sanakit.integrations.gradio [MODEL]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from sanakit.common.errors import SanakitError, optional
from sanakit.pipelines.events import Event, StepDone
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline

_EXTRA = "the demo needs Gradio; install it into an environment of its own with: pip install 'sanakit[demo]'"
_INPUTS = (
    "prompt", "negative_prompt", "side", "num_inference_steps", "guidance_scale", "num_images", "seed", "other",
)  # fmt: skip
EXAMPLES = ("two red apples and a blue ball", "a cat on green grass", "three yellow stars")


def make_demo(pipeline: TextToImagePipeline) -> Any:
    """Gradio's ``Blocks``, to be launched; pictures are PNGs with their record inside, offered as they are.

    Raises:
        RequestError: Gradio is not installed.
    """
    gradio = optional("gradio", _EXTRA)
    card, folder = pipeline.bundle.card, Path(tempfile.mkdtemp(prefix="sanakit-demo-"))
    usual = card.defaults

    def draw(progress: Any = gradio.Progress(), *values: Any) -> tuple[list[str], list[str], int]:  # noqa: B008
        given = dict(zip(_INPUTS, values, strict=True))
        side, other = int(given.pop("side")), given.pop("other")

        def on_event(event: Event) -> None:
            if isinstance(event, StepDone):
                done = event.image_index * event.total + event.index + 1
                progress((done, event.num_images * event.total))

        try:
            request = GenerationRequest(width=side, height=side, **given | ({"seed": "random"} if other else {}))
            images = pipeline(request, on_event=on_event).images
        except SanakitError as error:
            raise gradio.Error(str(error), print_exception=False) from None
        paths = [str(image.save(folder)) for image in images]
        return paths, paths, images[0].record.request.seed

    with gradio.Blocks(title=f"sanakit: {card.name}") as demo:
        gradio.Markdown(f"# {card.name}")
        prompt = gradio.Textbox(label="Prompt", lines=2, autofocus=True)
        run = gradio.Button("Draw", variant="primary")
        gallery = gradio.Gallery(label="Pictures", format="png", columns=2, object_fit="contain")
        with gradio.Accordion("More", open=False):
            negative = gradio.Textbox(label="Negative prompt", visible=not card.distilled)
            size = gradio.Slider(usual.base_size // 2, 2 * usual.base_size, usual.base_size, step=32, label="Side (px)")
            steps = gradio.Slider(1, 60, usual.num_inference_steps, step=1, label="Steps")
            guidance = gradio.Slider(1, 12, usual.guidance_scale, step=0.1, label="Guidance")
            number = gradio.Slider(1, 8, 1, step=1, label="Pictures")
            with gradio.Row():
                seed = gradio.Number(0, precision=0, label="Seed")
                other = gradio.Checkbox(True, label="Another seed each time")
        files = gradio.Files(label="The untouched files")
        gradio.Examples([[each] for each in EXAMPLES], [prompt])
        inputs, outputs = [prompt, negative, size, steps, guidance, number, seed, other], [gallery, files, seed]
        gradio.on([run.click, prompt.submit], draw, inputs, outputs, api_name="draw")
    return demo.queue(default_concurrency_limit=1)


if __name__ == "__main__":
    from sanakit.checkpoints.opening import open_model

    make_demo(TextToImagePipeline(open_model(*sys.argv[1:2] or ["starter"]).load())).launch()
