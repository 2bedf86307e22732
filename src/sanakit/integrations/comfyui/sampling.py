"""The node that makes latents of a prompt, and one for what of its settings is rarely touched."""

from __future__ import annotations

from typing import Any

from sanakit.common.errors import RequestError
from sanakit.common.seeds import MAX_SEED, image_seed
from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.nodes import (
    ADAPTERS,
    CONTROLS,
    LATENT,
    MODEL,
    OWN,
    PICTURES,
    PROMPT,
    SETTINGS,
    Fields,
    Inputs,
    Latents,
    Node,
    Prompt,
    choice,
    number,
    switch,
    text,
    whole,
    wire,
)
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.request import MAX_IMAGES, MAX_SIDE, MAX_STEPS, UPSCALES, GenerationRequest
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.sampling.solvers import SOLVERS

_OFF = -1.0  # of guidance, for the model's own, as 0 is a scale


def course_inputs(side: str) -> dict[str, Any]:
    """Size, steps, guidance and solver of pictures and clips; ``side`` says what the sizes are."""
    return {
        "width": whole(side, 0, MAX_SIDE),
        "height": whole(side, 0, MAX_SIDE),
        "steps": whole("Of the solver; 0 is the model's own.", 0, MAX_STEPS),
        "guidance": number("How closely to follow the prompt; 1 is off, -1 the model's own.", -1, 1000, default=_OFF),
        "solver": choice("The model's own, if nothing is said.", [OWN, *SOLVERS]),
    }


def taken_course(wishes: dict[str, Any]) -> dict[str, Any]:
    """The same out of the wishes, as fields of a request, without what is left to the model."""
    numbers = {"num_inference_steps": wishes.pop("steps"), **{side: wishes.pop(side) for side in ("width", "height")}}
    fields: dict[str, Any] = {name: value for name, value in numbers.items() if value}
    guidance, solver = wishes.pop("guidance"), wishes.pop("solver")
    fields |= {} if guidance < 0 else {"guidance_scale": guidance}
    return fields if solver == OWN else {**fields, "solver": solver}


class Settings(Node):
    """What of a picture is rarely set."""

    RETURN_TYPES = (SETTINGS,)
    RETURN_NAMES = ("settings",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        binning = "Make it at the nearest size that the model was trained at, then resize and cut."
        return {
            "required": {
                "pag_scale": number("Perturbed-attention guidance; 0 is off.", 0, 1000),
                "reuse": number("Spare steps whose velocity changes by a smaller share; 0 is off.", 0, 1, step=0.01),
                "flow_shift": number("Of the schedule; 0 is the model's own.", 0, 1000),
                "angles": text("Steps of the solver scm by angle, such as 1.5708,1.3,0.6; empty is by number."),
                "start_angle": number(
                    "Of the solver scm, where a picture is changed; 0 is what suits.", 0, 1.5708, step=0.01
                ),
                "seamless": switch("Opposite edges meet."),
                "upscale": choice("Enlarge each side afterwards, by a small network.", ["1", *map(str, UPSCALES)]),
                "binning": switch(binning, default=True),
            }
        }

    def run(self, angles: str, upscale: str, binning: bool, **given: Any) -> tuple[Fields]:
        """Raises RequestError for angles that are no numbers."""
        fields = {name: value for name, value in given.items() if value}
        try:
            fields |= {"angles": tuple(float(word) for word in angles.split(","))} if angles.strip() else {}
        except ValueError:
            raise RequestError(f"angles {angles!r} are not usable; give numbers such as 1.5708,1.3,0.6.") from None
        return ({**fields, "upscale": int(upscale), "use_resolution_binning": binning},)


class Sample(Node):
    """Make pictures of a prompt, as latents."""

    RETURN_TYPES = (LATENT,)
    RETURN_NAMES = ("latent",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        side = "In pixels; 0 in both is the model's own, or that of the picture it begins with."
        return {
            "required": {
                "model": wire(MODEL, "What makes them."),
                "prompt": wire(PROMPT, "What to draw."),
                "seed": whole("Of the first picture; the others count on.", 0, MAX_SEED, control_after_generate=True),
                "num_images": whole("Pictures, of each that it begins with.", 1, MAX_IMAGES, default=1),
                **course_inputs(side),
                "interval_low": number("The lowest noise level with guidance.", 0, 1, step=0.01),
                "interval_high": number("The highest; steps outside of both cost half.", 0, 1, default=1.0, step=0.01),
            },
            "optional": {
                "adapters": wire(ADAPTERS, "LoRA and kin."),
                "pictures": wire(PICTURES, "What to begin with: image to image, inpaint."),
                "settings": wire(SETTINGS, "What is rarely set."),
                "controls": wire(CONTROLS, "Pictures that control, by ControlNets."),
            },
            "hidden": {"node": "UNIQUE_ID"},
        }

    def run(
        self,
        model: TextToImagePipeline,
        prompt: Prompt,
        node: str | None = None,
        pictures: list[Fields] | None = None,
        **wishes: Any,
    ) -> tuple[Latents]:
        """Raises what a pipeline does, and ComfyUI's exception where its user wants no more of this."""
        seed, fields = wishes.pop("seed"), {**prompt._asdict(), **_fields(wishes)}
        begun = pictures or [{}]
        seeds = [image_seed(seed, index * fields["num_images"]) for index in range(len(begun))]
        requests = [GenerationRequest(**fields, **own, seed=each) for own, each in zip(begun, seeds, strict=True)]
        result = model(requests, on_event=host.Telling(node), output="latent")
        return (Latents(model, [SavedLatent(latent=each.latent, record=each.record) for each in result.images]),)


def _fields(wishes: dict[str, Any]) -> dict[str, Any]:
    """Of a request, without what is left to the model; what is not named here is named as in a request."""
    fields = taken_course(wishes)
    interval = (wishes.pop("interval_low"), wishes.pop("interval_high"))
    return {**fields, "guidance_interval": interval, **(wishes.pop("settings", None) or {}), **wishes}
