"""Files that peft writes, and what peft and diffusers make of the same: skipped where peft is not installed.

Against peft 0.21 and diffusers 0.42 the greatest difference seen is 6e-7.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sanakit.adapters.adapter import Use, carry
from sanakit.checkpoints.adapters.fit import open_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.adapters.write import write_adapter
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.layers.beside import told_by_row
from sanakit.models.text.text_condition import TextCondition
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

peft = pytest.importorskip("peft")
diffusers = pytest.importorskip("diffusers")

CONFIG = LinearDiTConfig(
    hidden_size=32, num_layers=2, head_dim=16, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=12,
    sample_size=8,
)  # fmt: skip
ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("LoraConfig", {"r": 4, "lora_alpha": 8, "rank_pattern": {"proj_out": 7}, "alpha_pattern": {"to_q": 3}}),
    "rslora": ("LoraConfig", {"r": 4, "lora_alpha": 8, "use_rslora": True}),
    "dora": ("LoraConfig", {"r": 4, "lora_alpha": 8, "use_dora": True}),
    "loha": ("LoHaConfig", {"r": 3, "alpha": 6}),
    "lokr": ("LoKrConfig", {"r": 3, "alpha": 6}),
    "whole lokr": ("LoKrConfig", {"r": 64, "alpha": 32}),
}


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LATENT, EMBEDS, TIMES = draw(2, 4, 8, 8, seed=1), draw(2, 6, 12, seed=2), torch.tensor([700.0, 300.0])


@torch.no_grad()
def theirs(model: Any) -> Tensor:
    told = {"encoder_hidden_states": EMBEDS, "timestep": TIMES, "encoder_attention_mask": torch.ones(2, 6)}
    return model(LATENT, **told, return_dict=False)[0]


@torch.no_grad()
def ours(state: dict[str, Tensor], file: Path) -> Tensor:
    model = LinearDiT(CONFIG)
    model.load_state_dict(LINEAR_DIT.layouts(CONFIG)["diffusers"].to_ours(state))
    model.eval().requires_grad_(False)
    fitted = open_adapter(file, Layers.of(LINEAR_DIT, CONFIG))
    assert not fitted.unmatched
    carry(model, fitted.adapter)
    mix = (Use(fitted.adapter),)
    with told_by_row((mix,)):
        condition = replace(model.prepare(TextCondition(EMBEDS, torch.ones(2, 6, dtype=torch.bool))), beside=(mix, mix))
    with told_by_row(condition.beside):
        return model(LATENT, TIMES, condition)


def plain_model() -> Any:
    torch.manual_seed(0)
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "cross_attention_dim": 32}
    heads = {"num_cross_attention_heads": 2, "cross_attention_head_dim": 16}
    shape = {"in_channels": 4, "out_channels": 4, "num_layers": 2, "caption_channels": 12, "sample_size": 8}
    return diffusers.SanaTransformer2DModel(**shape, **sizes, **heads, interpolation_scale=None).eval()


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("kind", CONFIGS)
def test_peft_computes_the_same(kind: str, tmp_path: Path) -> None:
    name, settings = CONFIGS[kind]
    more = [] if kind == "dora" else ["proj_out", "ff.conv_inverted", "caption_projection.linear_1"]
    model = plain_model()
    state, before = {key: value.clone() for key, value in model.state_dict().items()}, theirs(model)
    wrapped = peft.get_peft_model(model, getattr(peft, name)(target_modules=[*ATTENTION, *more], **settings))
    for number, (key, parameter) in enumerate(wrapped.named_parameters()):
        if "magnitude" in key:
            parameter.data.mul_(1 + 0.3 * draw(*parameter.shape, seed=number).abs())
        elif any(mark in key for mark in ("lora_", "hada_", "lokr_")):
            parameter.data.copy_(0.3 * draw(*parameter.shape, seed=number))
    wrapped.eval().save_pretrained(tmp_path / "peft")
    expected = theirs(wrapped.base_model.model)
    assert relative(ours(state, tmp_path / "peft"), expected) < 1e-6
    assert relative(before, expected) > 0.01
    layers, again = Layers.of(LINEAR_DIT, CONFIG), tmp_path / "again.safetensors"
    write_adapter(again, open_adapter(tmp_path / "peft", layers).adapter, layers)
    assert relative(ours(state, again), expected) < 1e-6
    if name == "LoraConfig":
        read, metadata = diffusers.SanaPipeline.lora_state_dict(str(again), return_lora_metadata=True)
        fresh = plain_model()
        diffusers.SanaPipeline.load_lora_into_transformer(read, transformer=fresh, metadata=metadata)
        assert relative(theirs(fresh), expected) < 1e-6
