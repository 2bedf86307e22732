"""diffusers opens what we write, and we open what diffusers writes, with the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderDC, SanaPipeline, SanaTransformer2DModel
from transformers import LlamaConfig, LlamaModel
from weights import autoencoder_pair, transformer_pair

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.diffusers_layout import save_network
from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.card import ImageDefaults, ModelCard
from sanakit.checkpoints.identity.precision import OWN_LINE
from sanakit.checkpoints.networks.dc_ae import DC_AE, DIFFUSERS_DC_AE, OriginalSpelling, original_dc_ae
from sanakit.checkpoints.networks.key_maps import KeyMap
from sanakit.checkpoints.networks.linear_dit import diffusers_linear_dit
from sanakit.checkpoints.opening import load_bundle
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig, stages
from sanakit.models.presets import DC_AE_PRESETS
from sanakit.models.text.text_encoder import TextEncoder
from sanakit.models.transformers.linear_dit import LinearDiTConfig

TRANSFORMER = LinearDiTConfig(
    hidden_size=64, num_layers=2, cross_head_dim=16, in_channels=4, out_channels=4, caption_channels=32, sample_size=8,
    interpolation_scale=1.0,
)  # fmt: skip
AUTOENCODER = DCAutoencoderConfig(
    encoder=stages((8, 8, 32), (1, 1, 1), num_res=2), decoder=stages((8, 8, 32), (1, 1, 1), num_res=2),
    latent_channels=4, scaling_factor=0.41407,
)  # fmt: skip


def tokenizer(num_tokens: int) -> object:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": 0, "<bos>": 1, "<unk>": 2} | {f"w{i}": i for i in range(3, num_tokens)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>")


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    torch.manual_seed(0)
    llama = LlamaConfig(
        vocab_size=1200, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    return ModelBundle(
        transformer=transformer_pair(TRANSFORMER)[1],
        autoencoder=autoencoder_pair(AUTOENCODER)[1],
        text_encoder=TextEncoder(LlamaModel(llama), tokenizer(1200)),  # type: ignore[arg-type]
        card=ModelCard(
            name="tiny", family="sana", defaults=ImageDefaults(base_size=32, flow_shift=2.5), precision=OWN_LINE
        ),
    )


def assert_same(first: torch.nn.Module, second: torch.nn.Module, layout: KeyMap | None = None) -> None:
    found, expected = first.state_dict(), second.state_dict()
    found = layout.to_ours(found) if layout else found
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())


@torch.no_grad()
def test_a_folder_goes_to_diffusers_and_comes_back(bundle: ModelBundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "ours")
    pipe = SanaPipeline.from_pretrained(tmp_path / "ours")
    transformer = SanaTransformer2DModel.from_pretrained(tmp_path / "ours" / "transformer")
    names = diffusers_linear_dit(guidance_embeds=False)
    assert_same(transformer, bundle.transformer, names)
    assert_same(pipe.transformer, bundle.transformer, names)
    assert_same(AutoencoderDC.from_pretrained(tmp_path / "ours" / "vae"), bundle.autoencoder, DIFFUSERS_DC_AE)
    assert (pipe.scheduler.config.flow_shift, pipe.scheduler.config.use_flow_sigmas) == (2.5, True)
    pictures = pipe("w5 w6", height=32, width=32, num_inference_steps=2, output_type="pt", use_resolution_binning=False)
    assert torch.isfinite(pictures.images).all()

    pipe.save_pretrained(tmp_path / "theirs", max_shard_size="200KB")
    assert (tmp_path / "theirs" / "transformer" / "diffusion_pytorch_model.safetensors.index.json").is_file()
    back = load_bundle(tmp_path / "theirs")
    assert_same(back.transformer, bundle.transformer)
    assert_same(back.autoencoder, bundle.autoencoder)
    assert (back.transformer.config, back.autoencoder.config) == (TRANSFORMER, AUTOENCODER)
    assert back.card.defaults.flow_shift == 2.5
    assert back.model_hash == bundle.model_hash


def test_an_autoencoder_alone_opens_in_diffusers(bundle: ModelBundle, tmp_path: Path) -> None:
    save_network(DC_AE, bundle.autoencoder, tmp_path / "vae")
    assert sorted(path.name for path in (tmp_path / "vae").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
    ]
    assert_same(AutoencoderDC.from_pretrained(tmp_path / "vae"), bundle.autoencoder, DIFFUSERS_DC_AE)


@pytest.mark.parametrize("max_shard_size", ["10GB", "100KB"])
def test_a_variant_saved_by_diffusers_loads(bundle: ModelBundle, tmp_path: Path, max_shard_size: str) -> None:
    save_bundle(bundle, tmp_path / "m")
    model = SanaTransformer2DModel.from_pretrained(tmp_path / "m" / "transformer", torch_dtype=torch.bfloat16)
    (tmp_path / "m" / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "m" / "sanakit.json").unlink()
    model.save_pretrained(tmp_path / "m" / "transformer", variant="bf16", max_shard_size=max_shard_size)
    back = load_bundle(tmp_path / "m", hub=HubOptions(variant="bf16"), dtype="bf16")
    expected = bundle.transformer.final.weight.to(torch.bfloat16)
    assert torch.equal(back.transformer.final.weight, expected)


# The rewrites of original autoencoder names into diffusers', in order, as published with the models.
REWRITES = (
    ("main.", ""), ("op_list.", ""), ("context_module", "attn"), ("local_module", "conv_out"),
    ("aggreg.0.0", "to_qkv_multiscale.0.proj_in"), ("aggreg.0.1", "to_qkv_multiscale.0.proj_out"),
    ("depth_conv.conv", "conv_depth"), ("inverted_conv.conv", "conv_inverted"), ("point_conv.conv", "conv_point"),
    ("point_conv.norm", "norm"), ("conv.conv.", "conv."), ("conv1.conv", "conv1"), ("conv2.conv", "conv2"),
    ("conv2.norm", "norm"), ("proj.norm", "norm_out"), ("qkv.conv", "to_q"), ("proj.conv", "to_out"),
    ("encoder.project_out.0.conv", "encoder.conv_out"), ("encoder.stages", "encoder.down_blocks"),
    ("decoder.project_in.conv", "decoder.conv_in"), ("decoder.stages", "decoder.up_blocks"),
    ("decoder.project_out.0", "decoder.norm_out"),
)  # fmt: skip


@pytest.mark.parametrize("name", DC_AE_PRESETS)
def test_original_autoencoder_names_follow_the_published_rewrites(name: str) -> None:
    config = DC_AE_PRESETS[name]
    with torch.device("meta"):
        state = DCAutoencoder(config).state_dict()
    stem = "encoder.conv_in" + (".conv" if config.encoder[0].num_blocks == 0 else "")
    head = "decoder.conv_out" + (".conv" if config.decoder[0].num_blocks == 0 else "")
    last = (("encoder.project_in.conv", stem), ("decoder.project_out.2.conv", head))
    rewritten = set()
    for key in original_dc_ae(OriginalSpelling.of(config)).from_ours(state):
        for old, new in (*REWRITES, *last):
            key = key.replace(old, new)
        rewritten.add(key)
    theirs = {key.replace("to_k.", "to_q.").replace("to_v.", "to_q.") for key in DIFFUSERS_DC_AE.from_ours(state)}
    assert rewritten == theirs
