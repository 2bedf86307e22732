"""Training the starter's transformer by flow matching on cached features."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from sanakit.checkpoints.starter_text_encoder import starter_text_encoder_folder
from sanakit.checkpoints.text_encoder_folder import load_text_encoder
from sanakit.common.config import to_mapping
from sanakit.data.starter.prompts import SHEET_PROMPTS
from sanakit.models.linear_dit import LinearDiT, LinearDiTConfig
from sanakit.models.text_encoder import TextEncoder, TextEncoderConfig
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.training.autoencoder import load_autoencoder
from sanakit.training.distributed import process_group
from sanakit.training.export import export_starter
from sanakit.training.feature_cache import FeatureCache, FeatureCacheConfig, cache_latents, cache_text
from sanakit.training.initialization import initialize_
from sanakit.training.loop import LoopConfig, train
from sanakit.training.objectives.flow_matching import (
    FlowMatchingConfig,
    LatentBatch,
    drop_captions,
    flow_matching_loss,
)
from sanakit.training.report import draw_curves, picture_grid, read_log, spent, write_report

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerRecipe:
    """Everything a run needs; ``autoencoder`` is the file that the autoencoder's recipe wrote."""

    type: Literal["transformer"] = "transformer"
    intent: str = ""
    model: LinearDiTConfig
    loop: LoopConfig
    autoencoder: str
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    features: FeatureCacheConfig = field(default_factory=FeatureCacheConfig)
    objective: FlowMatchingConfig = field(default_factory=FlowMatchingConfig)
    caption_dropout: float = 0.1
    compile: bool = False  # fuse what lies between the matrix products; costs a minute at the start
    seed: int = 0


def train_transformer(
    recipe: TransformerRecipe, folder: Path, *, device: str = "cpu",
    on_log: Callable[[Mapping[str, float]], None] | None = None,
) -> LinearDiT:
    """Cache the features, train, and write the averaged weights as ``folder / "model"``, with a report."""
    with process_group() as ranks:
        cache = folder / "features"
        encoder = starter_text_encoder(recipe.text)
        cache_text(encoder, recipe.features, cache, ranks=ranks)
        autoencoder = load_autoencoder(Path(recipe.autoencoder)).to(device)
        cache_latents(autoencoder, recipe.features, cache, ranks=ranks, device=device)
        if ranks.world > 1:
            torch.distributed.barrier()
        features, null = FeatureCache(cache, recipe.features), encoder.encode_null()
        del encoder
        model = LinearDiT(recipe.model)
        initialize_(model, torch.Generator().manual_seed(recipe.seed))
        model.to(device)
        if recipe.compile:
            for block in model.blocks:
                block.compile(dynamic=False)
        generator = torch.Generator().manual_seed(1000 * recipe.seed + ranks.rank)
        size = recipe.loop.batch_size

        def step(number: int) -> Mapping[str, Tensor]:
            generator.manual_seed((recipe.seed << 32) + number * ranks.world + ranks.rank)
            latent, text = features.batch((number * ranks.world + ranks.rank) * size, size)
            text = drop_captions(text, null, generator, recipe.caption_dropout)
            batch = LatentBatch(latent.to(device), type(text)(text.embeds.to(device), text.mask.to(device)))
            with (
                torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=recipe.loop.bf16),
                sdpa_kernel(_attention_backends(device)),
            ):
                return flow_matching_loss(model, batch, generator, config=recipe.objective)

        logger.info("recipe: %s", to_mapping(recipe))
        train(model, step, recipe.loop, folder, ranks=ranks, on_log=on_log)
        if ranks.is_first:
            finish(model, recipe, folder)
    return model


def finish(model: LinearDiT, recipe: TransformerRecipe, folder: Path) -> Path:
    """Export the model folder, sample the sheet of prompts that was fixed before training, and write the report."""
    encoder, plain = starter_text_encoder(recipe.text), LinearDiT(model.config)
    plain.load_state_dict(model.state_dict())  # compiled blocks are made for one text length
    bundle = export_starter(
        plain, load_autoencoder(Path(recipe.autoencoder)), encoder, folder / "model",
        resolution=recipe.features.resolution, flow_shift=recipe.objective.flow_shift,
    )
    pipeline = TextToImagePipeline(bundle)
    pictures = [np.asarray(pipeline(prompt, seed=0).images[0].image) for prompt in SHEET_PROMPTS]
    picture_grid(pictures, SHEET_PROMPTS).save(folder / "sheet.png")
    log = read_log(folder / "log.jsonl")
    draw_curves({"flow matching": log}, ("loss",), folder / "curves.png")
    results = {"transformer": spent(log), "loss": f"{log[-1]['loss']:.4f} (mean of the last lines)" if log else "-"}
    return write_report(folder, title="The starter's transformer", recipe=to_mapping(recipe), results=results,
                        images=("curves.png", "sheet.png"))


def _attention_backends(device: str) -> list[SDPBackend]:
    """On the CPU the fused backward pass takes a sixth of a step at 64 x 20 tokens, the plain one next to nothing."""
    if torch.device(device).type == "cpu":
        return [SDPBackend.MATH]
    return [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def starter_text_encoder(config: TextEncoderConfig) -> TextEncoder:
    """SmolLM2 in bfloat16 with the recipe's instruction."""
    source = starter_text_encoder_folder()
    return load_text_encoder(source / "text_encoder", source / "tokenizer", dtype=torch.bfloat16, config=config)
