"""FLUX.1 and Stable Diffusion 3 of tiny random weights as policies: diffusers' own pictures, and a run that learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from sanakit.common.config import from_mapping
from sanakit.common.errors import CheckpointError, ConfigError
from sanakit.common.seeds import draw_noise
from sanakit.training.recipes.planning import plan
from sanakit.training.recipes.rl.diffusers_model import diffusers_start
from sanakit.training.recipes.rl.recipe import Rewarding, RLRecipe
from sanakit.training.recipes.train import train
from sanakit.training.run.session import Session

WORDS = {"<pad>": 0, "<unk>": 1, "</s>": 2, "a": 3, "cat": 4, "dog": 5}


def tokenizer(length: int) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", model_max_length=length
    )


def clip(kind: type[Any]) -> Any:
    config = CLIPTextConfig(
        vocab_size=6, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, projection_dim=16, bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return kind(config)


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 4, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=1, sample_size=64,
        use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=0.4,
    )  # fmt: skip


def t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=6, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2))


def flux() -> FluxPipeline:
    torch.manual_seed(0)
    network = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return FluxPipeline(
        scheduler, autoencoder(), clip(CLIPTextModel), tokenizer(77), t5(32), tokenizer(512), network
    )  # fmt: skip


def sd3() -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    network = SD3Transformer2DModel(
        sample_size=8, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4,
        joint_attention_dim=32, caption_projection_dim=32, pooled_projection_dim=32, pos_embed_max_size=16,
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    two = [clip(CLIPTextModelWithProjection) for _ in range(2)]
    return StableDiffusion3Pipeline(
        network, scheduler, autoencoder(), two[0], tokenizer(77), two[1], tokenizer(77), t5(32), tokenizer(256)
    )  # fmt: skip


@pytest.fixture(scope="module", params=[flux, sd3])
def pipeline(request: pytest.FixtureRequest) -> Any:
    made = request.param()
    for part in made.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return made


@pytest.fixture(scope="module")
def folder(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("diffusers") / "tiny"
    pipeline.save_pretrained(path)
    return path


def settings(folder: Path, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n")
    return {
        "init": f"diffusers:{folder}", "adapter": {"rank": 2, "targets": ["to_q", "to_k", "to_v", "to_out.0"]},
        "prompts": {"type": "list", "path": str(tmp_path / "prompts.txt"), "held_out": str(tmp_path / "prompts.txt")},
        "rewards": [{"name": "jpeg"}], "explore": {"candidates": 4, "steps": 2, "scheme": "nvfp4"},
        "rollout": {"prompts": 2, "candidates": 3, "keep": 2, "steps": 3, "guidance_scale": 1.0},
        "algorithm": {"type": "nft", "levels": 0.7}, "precision": "fp32", "log": {"steps": 1, "report_to": []},
        "report_prompts": 1, "tested_prompts": 1,
        "stages": [{"name": "learn", "resolution": 64, "batch_size": 2, "learning_rate": 1e-3, "steps": 2,
                    "warmup_steps": 0}],
    }  # fmt: skip


def test_a_rollout_is_the_picture_that_diffusers_makes(pipeline: Any, folder: Path, tmp_path: Path) -> None:
    recipe = from_mapping(RLRecipe, {**settings(folder, tmp_path), "explore": None})
    start = diffusers_start(recipe, "cpu")
    run = Rewarding(recipe, start, Session(config=recipe, folder=tmp_path / "run"))
    stage = run.build_stage(recipe.stages[0], lambda whose, parts: None)
    maker = stage.feed.maker  # type: ignore[attr-defined]
    maker.engine.refresh(*run.policy.weights(run.policy.old))
    plan_of_one = maker.plans_for(maker.prompt(0, 0), [7])
    (rolled,) = maker.engine.make(plan_of_one)
    noise = draw_noise((4, 8, 8), 7)[None]
    solver, is_flux = plan_of_one[0].solver, isinstance(pipeline, FluxPipeline)
    how: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 1.0, "latents": noise}
    pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=solver.flow_shift)
    if is_flux:  # whose pipeline has steps of its own, unless it is given others
        pipeline.scheduler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        packed = FluxPipeline._pack_latents(noise, 1, 4, 8, 8)
        how |= {"sigmas": list(solver.schedule().sigmas[:-1]), "guidance_scale": 3.5, "latents": packed}
    found = pipeline(maker.prompt(0, 0).text, height=64, width=64, output_type="latent", **how).images
    assert solver.schedule().sigmas == pytest.approx(pipeline.scheduler.sigmas.tolist(), abs=1e-6)
    found = FluxPipeline._unpack_latents(found, 64, 64, 8) if is_flux else found
    torch.testing.assert_close(rolled.path, found, rtol=1e-3, atol=1e-4)
    pixels = pipeline.vae.decode(rolled.path / 0.4 + 0.1, return_dict=False)[0]
    picture = torch.tensor(np.asarray(rolled.image)).permute(2, 0, 1)
    assert (picture - (pixels[0].clamp(-1, 1) + 1) * 127.5).abs().max() < 1.01


@pytest.mark.slow
def test_a_run_learns_an_adapter_that_diffusers_names(pipeline: Any, folder: Path, tmp_path: Path) -> None:
    recipe, run = from_mapping(RLRecipe, settings(folder, tmp_path)), tmp_path / "run"
    train(recipe, run)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert "score, after" in (run / "report.md").read_text()
    tensors = load_file(run / "adapter" / "pytorch_lora_weights.safetensors")
    layers = {name.removeprefix("transformer.").rsplit(".lora", 1)[0] for name in tensors}
    assert layers <= dict(pipeline.transformer.named_modules()).keys()
    assert "transformer_blocks.0.attn.to_q" in layers
    assert any(tensor.abs().max() > 0 for name, tensor in tensors.items() if "lora_B" in name)


def test_it_is_planned_from_its_folder(folder: Path, tmp_path: Path) -> None:
    (planned,) = plan(from_mapping(RLRecipe, settings(folder, tmp_path)), "cpu")
    assert 0 < planned.gradients < planned.frozen


def test_what_cannot_work_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    plain = settings(folder, tmp_path)
    with pytest.raises(ConfigError, match="learns as an adapter"):
        diffusers_start(from_mapping(RLRecipe, {**plain, "adapter": None}), "cpu")
    with pytest.raises(CheckpointError, match="is no folder of FluxPipeline or"):
        diffusers_start(from_mapping(RLRecipe, {**plain, "init": "diffusers:nowhere"}), "cpu")
