"""The node that reads a prompt."""

from __future__ import annotations

from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.nodes import MODEL, PROMPT, Inputs, Node, Prompt, choice, switch, text, wire
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.pipelines.reading.styles import Style, load_styles
from sanakit.pipelines.text_to_image import TextToImagePipeline

NO_STYLE = "none"


class EncodePrompt(Node):
    """Read a prompt with the model's text encoder."""

    RETURN_TYPES = (PROMPT,)
    RETURN_NAMES = ("prompt",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        told = "A template that the prompt is put into; those of styles.yaml in ComfyUI's models/sanakit are here, too."
        return {
            "required": {
                "model": wire(MODEL, "Whose text encoder reads it."),
                "prompt": text("What to draw.", multiline=True),
            },
            "optional": {
                "negative_prompt": text("What to keep away from.", multiline=True),
                "style": choice(told, [NO_STYLE, *_styles()]),
                "instruction": switch("Put the model's instruction before the prompt.", default=True),
            },
        }

    def run(
        self,
        model: TextToImagePipeline,
        prompt: str,
        negative_prompt: str = "",
        style: str = NO_STYLE,
        instruction: bool = True,
    ) -> tuple[Prompt]:
        """The texts; their embeds are kept by the text encoder, where sampling finds them."""
        if style != NO_STYLE:
            prompt, negative_prompt = _styles()[style].applied(prompt, negative_prompt)
        told = prompt if model.reader is None else model.reader.read(prompt).text
        model.bundle.need("text_encoder")
        with own_arithmetic():
            model.bundle.text_encoder.encode_one(told, instruction)
            if not model.bundle.card.distilled:
                model.bundle.text_encoder.encode_one(negative_prompt, with_instruction=False)
        return (Prompt(prompt, negative_prompt, instruction),)


def _styles() -> dict[str, Style]:
    own = host.own_folder() / "styles.yaml"
    return load_styles(own if own.is_file() else None)
