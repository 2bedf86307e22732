"""The way to pictures of a model: what is asked for is planned by its card, and then its weights are read.

Whatever makes pictures goes this way: nobody waits for gigabytes to be told of a size that the model cannot make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sanakit.checkpoints.opening import OpenedModel
from sanakit.checkpoints.sources.complete import compression_of
from sanakit.common.errors import PictureError
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.plan import PicturePlan, plan_pictures
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.resolution import granularity_of
from sanakit.pipelines.text_to_image import TextToImagePipeline


def load_for(
    requests: Sequence[GenerationRequest],
    model: OpenedModel,
    *,
    check_room: Callable[[int], object] = lambda num_bytes: None,
    deterministic: bool = False,
) -> TextToImagePipeline:
    """The pipeline of a model that can make these pictures.

    Args:
        check_room: is told how many bytes the pictures may take; what it raises comes before the weights are read.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    check_room(bytes_of_pictures(plan_for_model(model, requests)))
    return TextToImagePipeline(model.load(), deterministic=deterministic)


def load_to_decode(saved: SavedLatent, path: Path, model: OpenedModel) -> TextToImagePipeline:
    """The pipeline of the model that made the latent in ``path``.

    Raises:
        PictureError: another model made it, or it has not the shape that its record says.
    """
    (plan,) = plan_for_model(model, [saved.record.request])
    transformer, compression = model.parts.transformer, compression_of(model.parts.autoencoder)
    assert transformer is not None
    expected = (1, transformer.config.in_channels, *(side // compression for side in plan.generated))
    if saved.latent.shape != expected:
        raise PictureError(
            f"{path} holds a latent of shape {tuple(saved.latent.shape)}, and {model.card.name} makes {expected} for "
            f"such a picture; decode it with the model that made it, or make it again"
        )
    if not model.replaces:
        _refuse_another(saved, path, model.card.name, model.card.model_hash)
    bundle = model.load()
    _refuse_another(saved, path, bundle.card.name, bundle.model_hash)
    return TextToImagePipeline(bundle)


def _refuse_another(saved: SavedLatent, path: Path, name: str, model_hash: str) -> None:
    made = saved.record.model
    if model_hash not in ("", made.hash):  # "" where it is not known yet
        raise PictureError(
            f"{path} was made with {made.name} ({made.hash[:10]}), and this is {name} ({model_hash[:10]}); decode it "
            f"with the model that made it"
        )


def plan_for_model(model: OpenedModel, requests: Sequence[GenerationRequest]) -> list[PicturePlan]:
    """Every picture of the requests, by the model's card and configs alone.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    assert model.parts.transformer is not None
    granularity = granularity_of(model.parts.transformer.config, compression_of(model.parts.autoencoder))
    return plan_pictures(requests, model.card, granularity)


def bytes_of_pictures(plans: Sequence[PicturePlan]) -> int:
    """Upper estimate of what their files take."""
    sides = [(plan.request.height or 0, plan.request.width or 0, plan.request.upscale) for plan in plans]
    return sum(4 * height * width * scale**2 for height, width, scale in sides)
