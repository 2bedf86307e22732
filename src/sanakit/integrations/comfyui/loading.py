"""Nodes that name files: a model, adapters."""

from __future__ import annotations

from typing import Any

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.paths import as_path
from sanakit.integrations.comfyui import host
from sanakit.integrations.comfyui.hosted_model import load_pipeline
from sanakit.integrations.comfyui.nodes import ADAPTERS, MODEL, OWN, Inputs, Node, choice, number, stamp, text, wire
from sanakit.pipelines.adapting.use import MAX_WEIGHT, AdapterUse
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.quantization.schemes import SCHEMES

STARTER = "starter"


class LoadModel(Node):
    """Load a model of the SANA family: a diffusers folder, an upstream .pth, one safetensors, a hub id, the starter."""

    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802, as ComfyUI calls it
        others = "Folder, file or hub id of another one; empty is the model's own, or the one published for it."
        dtypes = [OWN, "float32", "bfloat16", "float16"]
        told = "What the weights work in; the model's own is right. Such as it does not work in are refused."
        return {
            "required": {
                "model": choice(
                    f"From ComfyUI's folders; the starter ships with sanakit. {host.OWN_FOLDER} and diffusers may hold "
                    "model folders.",
                    [STARTER, *host.model_names()],
                )
            },
            "optional": {
                "source": text(
                    "A path or a hub id, instead of the choice above, such as hub:Efficient-Large-Model/..."
                ),
                "dtype": choice(told, dtypes),
                "quantize": choice("Fewer bits for transformer and autoencoder.", [OWN, *SCHEMES]),
                "text_encoder": text(others),
                "autoencoder": text(others),
                "variant": text("fp16 or bf16 where a folder has such files; empty is the plain ones."),
            },
        }

    @classmethod
    def IS_CHANGED(cls, model: str, source: str = "", **parts: str) -> str:  # noqa: N802
        places = [_source(model, source), *(parts.get(name, "") for name in ("text_encoder", "autoencoder"))]
        return "\n".join(stamp(as_path(place)) for place in places if place)

    def run(self, model: str, source: str = "", variant: str = "", **given: str) -> tuple[TextToImagePipeline]:
        """Raises what ``sanakit.load`` does."""
        options: dict[str, Any] = {name: value.strip() for name, value in given.items()}
        chosen = {name: value for name, value in options.items() if value not in ("", OWN)}
        hub = HubOptions(variant=variant.strip() or None)
        return (load_pipeline(_source(model, source), hub=hub, **chosen),)


class Adapter(Node):
    """Add a LoRA or kin; several are added together. The weights of the model are not touched."""

    RETURN_TYPES = (ADAPTERS,)
    RETURN_NAMES = ("adapters",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        weight = number("1 as it was trained, 0 nothing, below 0 the opposite.", -MAX_WEIGHT, MAX_WEIGHT, default=1.0)
        return {
            "required": {
                "adapter": choice("A .safetensors file from ComfyUI's folder of LoRA.", host.adapter_names() or [""]),
                "weight": weight,
            },
            "optional": {"adapters": wire(ADAPTERS, "To add this one to.")},
        }

    @classmethod
    def IS_CHANGED(cls, adapter: str, **others: Any) -> str:  # noqa: N802
        return stamp(host.adapter_path(adapter))

    def run(self, adapter: str, weight: float, adapters: tuple[AdapterUse, ...] = ()) -> tuple[tuple[AdapterUse, ...]]:
        """Raises CheckpointError for what is no file of an adapter."""
        return ((*adapters, AdapterUse.of((host.adapter_path(adapter), weight))),)


def _source(model: str, source: str) -> str:
    if source.strip():
        return source.strip()
    return model if model == STARTER else str(host.path_of(model))
