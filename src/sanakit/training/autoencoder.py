"""Training the starter's autoencoder on scenes composed as it goes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.data.starter.scenes import StarterScenes
from sanakit.data.starter.sprites import load_sprite_bank
from sanakit.evaluation.reconstruction import reconstruction_report
from sanakit.layers.norms import PixelRMSNorm
from sanakit.models.dc_ae import DCAutoencoder, DCAutoencoderConfig
from sanakit.training.distributed import Ranks, process_group
from sanakit.training.files import save_state
from sanakit.training.loop import LoopConfig, LoopResult, train
from sanakit.training.objectives.reconstruction import ReconstructionConfig, reconstruction_loss
from sanakit.training.report import Picture, draw_curves, picture_grid, read_log, spent, write_report

logger = logging.getLogger(__name__)

NUM_REPORT_SCENES = 96


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One stretch of the training.

    ``crop`` cuts a window of so many pixels around an object, which sees more edges per second than whole scenes;
    ``trainable: decoder`` freezes the encoder, so that cached latents stay valid.
    """

    name: str
    loop: LoopConfig
    crop: int | None = None
    trainable: Literal["all", "decoder"] = "all"
    objective: ReconstructionConfig = field(default_factory=ReconstructionConfig)


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoencoderRecipe:
    """Everything a run needs; the random draws follow from ``seed``."""

    type: Literal["autoencoder"] = "autoencoder"
    intent: str = ""
    model: DCAutoencoderConfig
    phases: tuple[Phase, ...]
    resolution: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for phase in self.phases:
            size = phase.crop or self.resolution
            if size % self.model.compression:
                raise ConfigError(f"phase {phase.name}: {size} px is no multiple of {self.model.compression}")


def train_autoencoder(
    recipe: AutoencoderRecipe, folder: Path, *, device: str = "cpu",
    on_log: Callable[[Mapping[str, float]], None] | None = None,
) -> DCAutoencoder:
    """Run every phase (each continues where it stopped) and write ``folder / "autoencoder.pt"``."""
    with process_group() as ranks:
        torch.manual_seed(recipe.seed)
        model = DCAutoencoder(recipe.model)
        quiet_residuals_(model)
        model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for index, phase in enumerate(recipe.phases):
            _run_phase(model, recipe, index, folder / phase.name, ranks, device, on_log)
        model = with_measured_scale(model, recipe, device)
        if ranks.is_first:
            save_autoencoder(model, folder / "autoencoder.pt")
            report_autoencoder(model, recipe, folder, device=device)
    return model


def report_autoencoder(model: DCAutoencoder, recipe: AutoencoderRecipe, folder: Path, *, device: str = "cpu") -> Path:
    """Curves, held-out reconstructions with their PSNR, and the page that shows them."""
    logs = {phase.name: read_log(folder / phase.name / "log.jsonl") for phase in recipe.phases}
    draw_curves(logs, ("loss", "mse"), folder / "curves.png")
    scenes = StarterScenes(load_sprite_bank(), "heldout", recipe.seed, size=recipe.resolution)
    pixels = scene_pixels(scenes, range(18))
    with torch.no_grad():
        decoded = model.decode(model.encode(pixels.to(device))).cpu()
    rows = [part[i : i + 6] for i in range(0, 18, 6) for part in (pixels, decoded)]
    pictures = [picture for row in rows for picture in to_pictures(row)]
    picture_grid(pictures, [""] * len(pictures), label_height=0).save(folder / "reconstructions.png")
    scores = reconstruction_report(model, NUM_REPORT_SCENES, recipe.seed, size=recipe.resolution, device=device)
    results = {
        "held-out scenes": scores.psnr.num_samples,
        "PSNR": f"{scores.psnr.mean:.2f} dB [{scores.psnr.low:.2f}, {scores.psnr.high:.2f}]",
        "SSIM": f"{scores.ssim.mean:.3f} [{scores.ssim.low:.3f}, {scores.ssim.high:.3f}]",
        "objects still named": f"{scores.named.mean:.0%} of the scenes (originals {scores.original_named.mean:.0%})",
        "whole scene still right": f"{scores.right.mean:.0%} (originals {scores.original_right.mean:.0%})",
        "scaling factor": f"{model.config.scaling_factor:.4f}",
        **{f"phase {name}": spent(lines) for name, lines in logs.items()},
    }
    return write_report(folder, title="The starter's autoencoder", recipe=to_mapping(recipe), results=results,
                        images=("curves.png", "reconstructions.png"))


def to_pictures(pixels: Tensor) -> list[Picture]:
    """``(B, 3, H, W)`` in [-1, 1] to uint8 ``(H, W, 3)`` each."""
    rounded = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return [picture.permute(1, 2, 0).contiguous().numpy() for picture in rounded]


def _run_phase(
    model: DCAutoencoder, recipe: AutoencoderRecipe, index: int, folder: Path, ranks: Ranks, device: str,
    on_log: Callable[[Mapping[str, float]], None] | None,
) -> LoopResult:
    phase = recipe.phases[index]
    model.requires_grad_(phase.trainable == "all")
    model.decoder.requires_grad_(True)
    scenes = StarterScenes(load_sprite_bank(), "train", recipe.seed + index, size=recipe.resolution)
    generator = torch.Generator().manual_seed(recipe.seed + ranks.rank)
    size = phase.loop.batch_size

    def step(number: int) -> Mapping[str, Tensor]:
        first = (number * ranks.world + ranks.rank) * size
        pixels = scene_pixels(scenes, range(first, first + size), crop=phase.crop).to(device)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=phase.loop.bf16):
            return reconstruction_loss(model, pixels, generator, config=phase.objective)

    logger.info("phase %s: %s", phase.name, to_mapping(phase))
    return train(model, step, phase.loop, folder, ranks=ranks, on_log=on_log)


def quiet_residuals_(model: DCAutoencoder, weight: float = 0.1) -> None:
    """Start every residual branch small, so that the first steps train the space-to-channel shortcuts."""
    for name, module in model.named_modules():
        if isinstance(module, PixelRMSNorm) and not name.endswith("norm_out"):
            nn.init.constant_(module.weight, weight)


def scene_pixels(scenes: StarterScenes, indices: range, *, crop: int | None = None) -> Tensor:
    """Scenes as ``(B, 3, H, W)`` in [-1, 1], channels last; with ``crop``, a window around one of the objects."""
    images = []
    for index in indices:
        image, _, scene = scenes.sample(index)
        if crop is not None:
            rng = np.random.default_rng(index)
            left, top, right, bottom = scene.objects[rng.integers(len(scene.objects))].box
            centre = np.array([rng.uniform(top, bottom), rng.uniform(left, right)]) * len(image)
            y, x = np.clip(centre - crop / 2, 0, len(image) - crop).astype(int)
            image = image[y : y + crop, x : x + crop]
        images.append(image)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)        # (B, 3, H, W), channels last
    return pixels.float() / 127.5 - 1


@torch.no_grad()
def with_measured_scale(model: DCAutoencoder, recipe: AutoencoderRecipe, device: str = "cpu") -> DCAutoencoder:
    """The same weights with ``scaling_factor = 1 / rms`` of the latents of 256 scenes."""
    scenes = StarterScenes(load_sprite_bank(), "train", recipe.seed + 1000, size=recipe.resolution)
    latents = [model.encoder(scene_pixels(scenes, range(i, i + 32)).to(device)).float() for i in range(0, 256, 32)]
    rms = float(torch.cat(latents).square().mean().sqrt())
    model.config = replace(model.config, scaling_factor=1 / rms)
    model.encoder.config = model.decoder.config = model.config
    return model


def save_autoencoder(model: DCAutoencoder, path: Path) -> None:
    """Weights and config in one file that loads without unpickling code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_state({"config": json.dumps(to_mapping(model.config)), "model": model.state_dict()}, path)


def load_autoencoder(path: Path) -> DCAutoencoder:
    """What ``save_autoencoder`` wrote, on the CPU wherever it was trained."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    model = DCAutoencoder(from_mapping(DCAutoencoderConfig, json.loads(state["config"])))
    model.load_state_dict(state["model"])
    return model
