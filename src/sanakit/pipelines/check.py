"""The way to pictures of a model: what is asked for is planned by its card, and then its weights are read.

Whatever makes pictures goes this way: nobody waits for gigabytes to be told of a size that the model cannot make.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sanakit.checkpoints.files.reader import read_header, read_json
from sanakit.checkpoints.identity.card import PUBLISHED_TEXT_ENCODER, SMALL_TEXT_ENCODER
from sanakit.checkpoints.networks.kind import QUANTIZATION
from sanakit.checkpoints.networks.strict_load import lay_out_network
from sanakit.checkpoints.opening import OpenedModel
from sanakit.checkpoints.refiner import TEXT_ENCODER
from sanakit.checkpoints.text.decoder_folder import decoder_parameters
from sanakit.checkpoints.text.decoder_json import decoder_config
from sanakit.checkpoints.text.starter_text_encoder import starter_text_encoder_place
from sanakit.checkpoints.text.text_encoder_folder import text_encoder_files
from sanakit.common.byte_counts import readable_bytes
from sanakit.common.errors import PictureError, SanakitError
from sanakit.common.paths import as_path
from sanakit.models.network import state_bytes
from sanakit.pipelines.adapting.carried import check_adapters
from sanakit.pipelines.clips.memory import clip_decoding_bytes, clip_step_bytes, refining_bytes
from sanakit.pipelines.clips.refine import check_refiner
from sanakit.pipelines.controlling.carried import check_controls, found_for
from sanakit.pipelines.decoding.budget import within
from sanakit.pipelines.decoding.decode import TILINGS
from sanakit.pipelines.decoding.memory import (
    FreeMemory,
    ModelSize,
    PictureMemory,
    autoencoder_parameters,
    measured_free_memory,
    transformer_parameters,
)
from sanakit.pipelines.decoding.published import AUTOENCODER, TEXT_ENCODER_PARAMETERS
from sanakit.pipelines.decoding.tiling import Tiling
from sanakit.pipelines.denoise import rows_per_call
from sanakit.pipelines.latent_file import SavedLatent
from sanakit.pipelines.plan import PicturePlan, latent_shape, plan_pictures
from sanakit.pipelines.reading.read import PromptReader
from sanakit.pipelines.request import GenerationRequest
from sanakit.pipelines.resolution import LARGEST, granularity_of
from sanakit.pipelines.text_to_image import FIXED_ROWS, MAX_BATCH, TextToImagePipeline
from sanakit.quantization.codecs import num_bytes
from sanakit.quantization.schemes import scheme_named

logger = logging.getLogger(__name__)


def load_for(
    requests: Sequence[GenerationRequest],
    model: OpenedModel,
    *,
    check_room: Callable[[int], object] = lambda num_bytes: None,
    deterministic: bool = False,
    compile: bool = False,
    memory: int | None = None,
) -> TextToImagePipeline:
    """The pipeline of a model that can make these pictures, with the refiner that it names. Where memory is short, that
    is told first.

    Args:
        memory: bytes that this process is to stay within, by narrower weights and smaller tiles where needed.
        check_room: is told how many bytes the pictures may take; what it raises comes before the weights are read.

    Raises:
        RequestError: the model cannot do what a request asks for, or not within that memory.
        CheckpointError: an adapter or a ControlNet does not fit the model.
    """
    plans, config = plan_for_model(model, requests), model.parts.networks["transformer"].config
    check_adapters([use for each in requests for use in each.adapters], config, compile=compile)
    controls = [use for each in requests for use in each.controls]
    check_controls(controls, config, model.parts.networks.get("controlnet"), compile=compile)
    if model.refiner is not None:
        check_refiner(model.refiner, _autoencoder_of(model))
    check_room(bytes_of_pictures(plans, scale=_refined_scale(model)))
    rows = FIXED_ROWS if deterministic else None
    if memory is not None and plans:
        largest = max(plans, key=_extent)
        model = within(
            memory, model, partial(memory_of_pictures, plan=largest, num_pictures=len(plans), fixed_rows=rows)
        )
    tell_lack_of_memory(model, plans, fixed_rows=rows)
    pipeline = TextToImagePipeline(model.load(), deterministic=deterministic, compile=compile, memory=memory)
    return pipeline.refine_with(model.refiner)


def load_to_decode(saved: SavedLatent, path: Path, model: OpenedModel) -> TextToImagePipeline:
    """The pipeline of the model that made the latent in ``path``.

    Raises:
        PictureError: another model made it, or it has not the shape that its record says.
    """
    (plan,) = plan_for_model(model, [saved.record.request])
    channels = model.parts.networks["transformer"].config.in_channels
    *shape, height, width = latent_shape(plan, channels, _autoencoder_of(model))
    expected = (1, *shape, *(saved.record.refined_scale * side for side in (height, width)))
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


def plan_for_model(
    model: OpenedModel, requests: Sequence[GenerationRequest], reader: PromptReader | None = None
) -> list[PicturePlan]:
    """Every picture of the requests, by the model's card and configs alone; ``reader`` is of prompts, if any.

    Raises:
        RequestError: the model cannot do what a request asks for.
    """
    return plan_pictures(requests, model.card, granularity_for(model), reader, temporal=temporal_for(model))


def granularity_for(model: OpenedModel) -> int:
    """Both sides of a picture that the model makes are multiples of so many pixels."""
    return granularity_of(model.parts.networks["transformer"].config, _autoencoder_of(model).compression)


def temporal_for(model: OpenedModel) -> int:
    """Frames of a clip that the model makes are one more than a multiple of so many."""
    return int(_autoencoder_of(model).temporal_compression)


def _autoencoder_of(model: OpenedModel) -> Any:
    """The config of the model's own; of the published one where it has none."""
    found = model.parts.networks.get("autoencoder")
    return AUTOENCODER if found is None else found.config


def _refined_scale(model: OpenedModel) -> int:
    return 1 if model.refiner is None else model.refiner.scale


def bytes_of_pictures(plans: Sequence[PicturePlan], *, scale: int = 1) -> int:
    """Upper estimate of what their files take, where sides become ``scale`` times as large."""

    def pixels(plan: PicturePlan) -> int:
        return (plan.request.height or 0) * (plan.request.width or 0) * (scale * plan.request.upscale) ** 2

    return sum(4 * (plan.num_frames or 1) * pixels(plan) for plan in plans)


def _extent(plan: PicturePlan) -> int:
    """Pixels that the model makes."""
    return math.prod(plan.generated) * (plan.num_frames or 1)


def tell_lack_of_memory(
    model: OpenedModel,
    plans: Sequence[PicturePlan],
    *,
    fixed_rows: int | None = None,
    free_memory: FreeMemory = measured_free_memory,
) -> None:
    """Warn where weights and pictures take more memory than is free: the system may end the process without a word.

    It is no error, since the estimate is an upper one and some systems find more.
    """
    free = free_memory(torch.device(model.device))
    largest = max(plans, key=_extent, default=None)
    if free is None or largest is None:
        return
    need = memory_of_pictures(model, largest, num_pictures=len(plans), fixed_rows=fixed_rows)
    if need.total <= free:
        return
    height, width = largest.generated
    what = "pictures" if largest.num_frames is None else f"clips of {largest.num_frames} frames"
    parts = {"its weights": sum(need.weights.values()), "a step": need.denoising, "its decoding": need.decoding}
    parts |= {"refining": max(need.refining.values())} if need.refining else {}
    told = ", ".join(f"{readable_bytes(size)} for {name}" for name, size in parts.items())
    logger.warning(
        "memory is short: %s takes up to %s for %s of %dx%d px (%s), and %s are free on %s; close other programs "
        "or ask for less, and `sanakit doctor` tells what runs here",
        *(model.card.name, readable_bytes(need.total), what, width, height, told, readable_bytes(free), model.device),
    )


def memory_of_pictures(
    model: OpenedModel, plan: PicturePlan, *, num_pictures: int = 1, fixed_rows: int | None = None
) -> PictureMemory:
    """What a model takes with its text encoder, for one of so many pictures; decoded in the smallest tiles, which are
    taken where larger ones do not fit."""
    if plan.num_frames is not None:
        return _memory_of_clip(model, plan, plan.num_frames, fixed_rows)
    transformer = model.parts.transformer
    assert transformer is not None
    autoencoder = _autoencoder_of(model)
    counts = {
        "transformer": transformer_parameters(transformer.config),
        "autoencoder": autoencoder_parameters(autoencoder),
        "text_encoder": _text_encoder_parameters(model),
    }
    size = ModelSize(
        transformer=transformer.config,
        autoencoder=autoencoder,
        weights={name: _bytes_of_weights(model, name, count) for name, count in counts.items()},
        dtype=model.dtypes["transformer"],
    )
    most = LARGEST * model.card.defaults.base_size if plan.is_larger else max(plan.generated)  # else in tiles
    height, width = (min(side, most) for side in plan.generated)
    shape = (transformer.config.in_channels, height // autoencoder.compression, width // autoencoder.compression)
    alone = len(plan.guidance.inputs())
    together = rows_per_call(torch.device(model.device), shape, 2 * MAX_BATCH)
    rows = fixed_rows or max(alone, min(alone * num_pictures, together))
    tiling = _smallest_tiles(height, width)
    need = size.picture(height, width, rows=rows, tiling=tiling, upscale=plan.request.upscale)
    beside = _bytes_of_controlnets(model, plan)
    denoising, decoding = need.denoising + beside, need.decoding + beside
    return replace(need, in_turns=model.in_turns, denoising=denoising, decoding=decoding)


def _memory_of_clip(model: OpenedModel, plan: PicturePlan, num_frames: int, fixed_rows: int | None) -> PictureMemory:
    """The same of a clip, whose rows are never more than its own."""
    transformer, autoencoder = (model.parts.networks[name] for name in ("transformer", "autoencoder"))
    counts = {
        found.kind.component: sum(map(math.prod, found.kind.shapes(found.config).values()))
        for found in (transformer, autoencoder)
    }
    counts["text_encoder"] = _text_encoder_parameters(model)
    latent = latent_shape(plan, transformer.config.in_channels, autoencoder.config)[1:]
    height, width = (_refined_scale(model) * side for side in plan.generated)
    rows, tiling = fixed_rows or len(plan.guidance.inputs()), _smallest_tiles(height, width)
    shape, dtype = (num_frames, height, width), model.dtypes["autoencoder"]
    refiner = model.refiner
    return PictureMemory(
        weights={name: _bytes_of_weights(model, name, count) for name, count in counts.items()}
        | _bytes_of_refiner(model),
        refining={} if refiner is None else refining_bytes(refiner, latent, model.dtypes["transformer"]),
        denoising=rows
        * clip_step_bytes(transformer.config, latent, model.card.text.max_tokens, model.dtypes["transformer"]),
        decoding=clip_decoding_bytes(autoencoder.kind.build, autoencoder.config, shape, dtype, tiling),
        in_turns=model.in_turns,
    )


def _smallest_tiles(height: int, width: int) -> Tiling | None:
    return TILINGS[-1] if max(height, width) > TILINGS[-1].tile else None


def _bytes_of_controlnets(model: OpenedModel, plan: PicturePlan) -> int:
    """Weights of networks that stay beside the transformer."""
    own = model.parts.networks.get("controlnet")
    found = {id(net): net for use in plan.request.controls if (net := found_for(use, own)) is not None}
    counts = (sum(map(math.prod, net.kind.shapes(net.config).values())) for net in found.values())
    return sum(counts) * model.dtypes["transformer"].itemsize


def _bytes_of_refiner(model: OpenedModel) -> dict[str, int]:
    """Weights of its networks, which have the dtypes of the model's and follow its schemes as they are loaded."""
    if model.refiner is None:
        return {}
    parts = model.refiner.parts
    assert parts.text_encoder is not None
    count = _parameters_in(parts.text_encoder, parts.variant)
    how = model.refiner.how(model.dtypes, model.schemes)
    dtype, scheme = how.pop(TEXT_ENCODER).values()
    text = count * dtype.itemsize if scheme is None else num_bytes(scheme, (1, count))
    networks = {name: lay_out_network(parts.networks[name], **each) for name, each in how.items()}
    return {TEXT_ENCODER: text} | {name: state_bytes(each.state_dict()) for name, each in networks.items()}


def _bytes_of_weights(model: OpenedModel, component: str, count: int) -> int:
    """In its dtype, or as its files are quantized; where a text encoder is quantized as it is loaded, all of it in that
    scheme, though some layers stay as they are."""
    found, scheme = model.parts.networks.get(component), model.schemes.get(component)
    if found is not None and (found.quantization or scheme is not None):
        return state_bytes(lay_out_network(found, dtype=model.dtypes[component], quantize=scheme).state_dict())
    ordered = model.card.quantization.get(component) if component == "text_encoder" else None
    scheme = scheme or (None if ordered is None else scheme_named(ordered))
    return count * model.dtypes[component].itemsize if scheme is None else num_bytes(scheme, (1, count))


def _text_encoder_parameters(model: OpenedModel) -> int:
    """By the files that are here; of the published one its number, and 0 of others that are not here yet."""
    named = model.named.get("text_encoder")
    folder = model.parts.text_encoder if named is None else as_path(named)
    if folder is None and model.card.text_encoder == SMALL_TEXT_ENCODER:
        folder = starter_text_encoder_place(model.card.text.num_layers)
    with suppress(SanakitError, OSError):  # which loading tells
        if folder is not None:
            inner = folder / "text_encoder"
            return _parameters_in(inner if inner.is_dir() else folder, model.parts.variant)
    return TEXT_ENCODER_PARAMETERS if named is None and model.card.text_encoder == PUBLISHED_TEXT_ENCODER else 0


def _parameters_in(folder: Path, variant: str | None) -> int:
    """Of a language model, by its files."""
    fields = read_json(folder / "config.json")
    if fields.get(QUANTIZATION) and (config := decoder_config(fields)) is not None:
        return decoder_parameters(config)
    header = read_header(text_encoder_files(folder, variant))
    return sum(math.prod(tensor.shape) for tensor in header.tensors.values())
