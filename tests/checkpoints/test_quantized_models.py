"""Models in fewer bits on the disk: written, told, loaded to the bit, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sanakit.checkpoints.bundle import ModelBundle, save_bundle
from sanakit.checkpoints.editing.convert import convert
from sanakit.checkpoints.editing.derived_model import read_base
from sanakit.checkpoints.editing.describe import describe
from sanakit.checkpoints.editing.quantizing import quantize_model
from sanakit.checkpoints.identity.schemes import parse_schemes
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.content_hashes import verify_hashes
from sanakit.checkpoints.text.text_encoder_folder import load_text_encoder
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.quantization.schemes import NF4

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", params=["bf16", "int8", "nf4"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def quantized(folder: Path, scheme: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantized") / scheme
    quantize_model(folder, path, parse_schemes(request_of(scheme)))
    return path


def request_of(scheme: str) -> str:
    """All three components."""
    return f"transformer={scheme},autoencoder=int8,text_encoder=int4-weight"


def test_a_folder_is_the_model_that_is_quantized_as_it_is_loaded(folder: Path, quantized: Path, scheme: str) -> None:
    stored, at_once = load_bundle(quantized), load_bundle(folder, quantize=request_of(scheme))
    for name in ("transformer", "autoencoder"):
        states = [getattr(bundle, name).state_dict() for bundle in (stored, at_once)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert all(states[0][key].dtype == states[1][key].dtype for key in states[0])
    embeds = [bundle.text_encoder.encode(["w5 w6"])[0].embeds for bundle in (stored, at_once)]
    assert torch.equal(*embeds)
    assert stored.fewer_bits == at_once.fewer_bits
    assert set(stored.fewer_bits) == {"transformer", "autoencoder", "text_encoder"}
    assert at_once.quantized["transformer"] == scheme
    assert stored.quantized == {}


def test_a_text_encoder_lies_there_in_fewer_bits(folder: Path, quantized: Path, tmp_path: Path) -> None:
    place = quantized / "text_encoder"
    config, tensors = json.loads((place / "config.json").read_text()), load_file(place / "model.safetensors")
    layers = {name: group["type"] for group in config["quantization_config"]["schemes"] for name in group["layers"]}
    assert layers["layers.0.mlp.up_proj"] == "int4-weight"
    assert layers["embed_tokens"] == "int8-weight"
    assert tensors["layers.0.mlp.up_proj.weight"].dtype == torch.uint8
    told, plain = describe(quantized).components[-1], describe(folder).components[-1]
    assert (told.quantization, told.num_parameters) == ("int4-weight and int8-weight", plain.num_parameters)
    assert told.num_bytes < plain.num_bytes / 2
    bundle = load_bundle(quantized)
    save_bundle(bundle, tmp_path / "saved")
    assert (tmp_path / "saved" / "text_encoder" / "config.json").read_text() == (place / "config.json").read_text()
    again = load_bundle(tmp_path / "saved")
    assert torch.equal(*(each.text_encoder.encode(["w5"])[0].embeds for each in (bundle, again)))
    first = load_text_encoder(place, quantized / "tokenizer", config=replace(bundle.card.text, num_layers=1))
    assert len(first.model.layers) == 1
    with pytest.raises(RequestError, match="it is quantized already"):
        load_bundle(quantized, quantize="text_encoder=nf4")
    with pytest.raises(RequestError, match=r"text encoder in .* is quantized already"):
        quantize_model(quantized, tmp_path / "twice", {"text_encoder": NF4()})
    save_file({**tensors, "norm.weight": tensors["norm.weight"].to(torch.int8)}, place / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"holds int8 numbers as norm.weight, and its config.json wants float32"):
        load_bundle(quantized, force=True)
    save_file(tensors, place / "model.safetensors")


def test_it_is_told_and_its_hashes_are_its_own(folder: Path, quantized: Path, scheme: str) -> None:
    told, plain = describe(quantized), describe(folder)
    assert told.card is not None
    assert told.card.quantization["transformer"] == scheme
    assert told.components[0].quantization == scheme
    assert [part.num_parameters for part in told.components] == [part.num_parameters for part in plain.components]
    assert not any(check.differs for check in verify_hashes(quantized))
    assert told.card.hashes["transformer"] != plain.card.hashes["transformer"]  # type: ignore[union-attr]


def test_a_single_file_and_a_copy_keep_it(quantized: Path, tmp_path: Path) -> None:
    convert(quantized, tmp_path / "copy", "diffusers")
    convert(quantized, tmp_path / "one.safetensors", "safetensors")
    states = [load_bundle(place).transformer.state_dict() for place in (quantized, tmp_path / "copy")]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert describe(tmp_path / "one.safetensors").components[0].quantization
    save_bundle(load_bundle(quantized), tmp_path / "saved", include_text_encoder=False)
    assert describe(tmp_path / "saved").components[0].quantization


def test_the_wide_part_takes_the_dtype_that_is_asked_for(quantized: Path) -> None:
    bundle = load_bundle(quantized, dtype="bfloat16")
    assert bundle.precisions["transformer"] == "bfloat16"
    assert bundle.transformer.modulation.weight.dtype == torch.bfloat16


def test_what_needs_plain_weights_says_so(quantized: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"quantized .* and the upstream layout needs plain weights"):
        convert(quantized, tmp_path / "a.pth", "upstream")
    with pytest.raises(CheckpointError, match="adding or removing blocks needs plain weights"):
        read_base(quantized)
    with pytest.raises(RequestError, match="quantized already"):
        quantize_model(quantized, tmp_path / "twice", parse_schemes("int8"))
    assert not (tmp_path / "twice").exists()


def test_the_same_scheme_again_changes_nothing_and_another_is_refused(quantized: Path, scheme: str) -> None:
    assert load_bundle(quantized, quantize=f"transformer={scheme}").fewer_bits["transformer"] == scheme
    other = "int8" if scheme != "int8" else "bf16"
    with pytest.raises(RequestError, match=f"quantized already \\({scheme}\\)"):
        load_bundle(quantized, quantize=f"transformer={other}")


def test_missing_scales_are_named(folder: Path, tmp_path: Path) -> None:
    quantize_model(folder, tmp_path / "model", parse_schemes("int8"))
    path = tmp_path / "model" / "transformer" / WEIGHTS
    tensors = load_file(path)
    del tensors["transformer_blocks.1.attn1.to_qkv.weight_scale"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"missing \(transformer_blocks.1.attn1.to_qkv.weight_scale\)"):
        load_bundle(tmp_path / "model", force=True)


def test_plain_weights_under_a_quantized_config_are_refused(folder: Path, tmp_path: Path) -> None:
    quantize_model(folder, tmp_path / "model", parse_schemes("int8"))
    path = tmp_path / "model" / "transformer" / WEIGHTS
    tensors = load_file(path)
    tensors["transformer_blocks.0.attn1.to_qkv.weight"] = tensors["transformer_blocks.0.attn1.to_qkv.weight"].float()
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"holds float32 numbers as blocks.0.attention.qkv.weight, and int8 ones"):
        load_bundle(tmp_path / "model", force=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"quant_method": "bitsandbytes"}, "quantized by bitsandbytes, which is not followed"),
        ({"quant_method": None}, "quantized by another program, which is not followed"),
        ({"format": 2}, "of format 2"),
        ({"schemes": [{"type": "int3", "layers": ["blocks.0.attention.qkv"]}]}, "quantized as 'int3'"),
        ({"schemes": [{"type": "int8", "layers": ["blocks.7.attention.qkv"]}]}, "names the layer blocks.7.attention"),
        ({"schemes": [{"type": ["int8"], "layers": []}]}, r"quantized as \['int8'\]"),
        ({"schemes": [{"type": "int8"}]}, "does not say which layers"),
        ({"schemes": 3}, "does not say which layers"),
    ],
)
def test_a_config_of_others_or_damaged_gets_a_sentence(
    folder: Path, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    quantize_model(folder, tmp_path / "model", parse_schemes("int8"))
    path = tmp_path / "model" / "transformer" / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] |= change
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=sentence):
        load_bundle(tmp_path / "model", force=True)


def test_what_is_asked_for(bundle: ModelBundle) -> None:
    assert {name: each.name for name, each in parse_schemes("int8").items()} == {
        "transformer": "int8", "autoencoder": "int8",
    }  # fmt: skip
    chosen = parse_schemes("transformer=int8, text-encoder=plain")
    assert {name: each.name for name, each in chosen.items()} == {"transformer": "int8"}
    with pytest.raises(RequestError, match="did you mean int8-weight"):
        parse_schemes("transformer=int8weight")
    with pytest.raises(RequestError, match="'unet' is no component"):
        parse_schemes({"unet": "int8"})
    assert bundle.fewer_bits == {}
