"""Files of adapters in every spelling mean the same side paths; what is wrong with one is told in a sentence.

That peft, diffusers and LyCORIS write such files, and compute the same with them, `test_peers.py` shows where they are
installed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sanakit.adapters.side_paths import Full, Hadamard, Kronecker, LowRank
from sanakit.checkpoints.adapters.files import METADATA, read_adapter
from sanakit.checkpoints.adapters.fit import FittedAdapter, fit_adapter, open_adapter
from sanakit.checkpoints.adapters.places import Layers
from sanakit.checkpoints.adapters.write import tags, write_adapter
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.common.errors import CheckpointError, SanakitError
from sanakit.models.transformers.linear_dit import LinearDiTConfig

CONFIG = LinearDiTConfig(
    hidden_size=16, num_layers=2, head_dim=8, cross_head_dim=8, in_channels=4, out_channels=4, caption_channels=12
)
LAYERS = Layers.of(LINEAR_DIT, CONFIG)
QUERY, EXPAND = "transformer_blocks.1.attn1.to_q", "transformer_blocks.0.ff.conv_inverted"


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def lora(name: str = QUERY, *, rank: int = 2, size: int = 16, leaves: tuple[str, str] = ("lora_A", "lora_B")) -> dict:
    down, up = (f"{name}.{leaf}.weight" for leaf in leaves)
    return {down: draw(rank, size, seed=1), up: draw(size, rank, seed=2)}


def opened(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> FittedAdapter:
    path = folder / "adapter.safetensors"
    save_file(tensors, path, metadata=metadata)
    return open_adapter(path, LAYERS)


def changes(fitted: FittedAdapter) -> dict[str, Tensor]:
    """Of whole layers of ours."""
    found: dict[str, Tensor] = {}
    for path in fitted.adapter.paths.values():
        place = path.place
        shape = LINEAR_DIT.shapes(CONFIG)[f"{place.layer}.weight"]
        whole = found.setdefault(place.layer, torch.zeros(shape[0], place.in_features))
        whole[place.rows] += path.scale * path.matrix()
    return found


@pytest.mark.parametrize(
    ("name", "leaves", "spelling"),
    [
        (f"transformer.{QUERY}", ("lora_A", "lora_B"), "diffusers"),
        (f"base_model.model.{QUERY}", ("lora_A", "lora_B"), "PEFT"),
        (f"base_model.model.{QUERY}", ("lora_A.default", "lora_B.default"), "PEFT"),
        (f"diffusion_model.{QUERY}", ("lora_A", "lora_B"), "ComfyUI"),
        (f"unet.{QUERY}", ("lora.down", "lora.up"), "plain names"),
        ("lora_unet_" + QUERY.replace(".", "_"), ("lora_down", "lora_up"), "kohya"),
        ("lycoris_" + QUERY.replace(".", "_"), ("lora_down", "lora_up"), "LyCORIS"),
        (QUERY, ("lora_A", "lora_B"), "plain names"),
    ],
)
def test_every_spelling_means_the_same(name: str, leaves: tuple[str, str], spelling: str, tmp_path: Path) -> None:
    fitted = opened(tmp_path, lora(name, leaves=leaves))
    assert fitted.file.spelling == spelling
    assert not fitted.unmatched
    plain = lora(name, leaves=leaves)
    down, up = plain.values()
    (change,) = changes(fitted).values()
    torch.testing.assert_close(change[:16], up @ down)
    assert not change[16:].any()  # keys and values


@pytest.mark.parametrize("flat", [False, True])
def test_the_fused_projection_of_upstream_is_one_path(flat: bool, tmp_path: Path) -> None:
    name = "lora_unet_blocks_1_attn_qkv" if flat else "diffusion_model.blocks.1.attn.qkv"
    down, up = draw(3, 16, seed=4), draw(48, 3, seed=5)
    fitted = opened(tmp_path, {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up})
    torch.testing.assert_close(changes(fitted)["blocks.1.attention.qkv"], up @ down)
    written = tmp_path / "written.safetensors"
    write_adapter(written, fitted.adapter, LAYERS)
    assert sum("lora_A" in name for name in load_file(written)) == 3  # queries, keys and values
    torch.testing.assert_close(changes(open_adapter(written, LAYERS))["blocks.1.attention.qkv"], up @ down)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_ranks_and_alphas_are_those_of_each_layer(dtype: torch.dtype, tmp_path: Path) -> None:
    first, second, third = lora(), lora(f"{QUERY[:-1]}k", rank=5), lora(f"{QUERY[:-1]}v", rank=4)
    alphas = {f"{QUERY}.alpha": torch.tensor(1.0), f"{QUERY[:-1]}k.alpha": torch.tensor([10.0])}
    tensors = {**first, **second, **third, **alphas}
    fitted = opened(tmp_path, {name: tensor.to(dtype) for name, tensor in tensors.items()})
    assert [path.scale for path in fitted.adapter.paths.values()] == [2.0, 0.5, 1.0]
    assert [path.rank for path in fitted.adapter.paths.values()] == [5, 2, 4]
    assert next(fitted.adapter.parameters()).dtype == torch.float32


def test_settings_of_peft_count_inside_the_file_and_beside_it(tmp_path: Path) -> None:
    settings = {"r": 2, "lora_alpha": 6, "alpha_pattern": {"attn1.to_k": 1}}
    tensors = {**lora(f"transformer.{QUERY}"), **lora(f"transformer.{QUERY[:-1]}k")}
    inside = {METADATA: json.dumps({f"transformer.{name}": value for name, value in settings.items()})}
    scales = [path.scale for path in opened(tmp_path, tensors, inside).adapter.paths.values()]
    assert scales == [0.5, 3.0]
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"use_rslora": True}))
    (tmp_path / "adapter.safetensors").unlink()
    scales = [path.scale for path in open_adapter(tmp_path, LAYERS).adapter.paths.values()]
    assert scales == [pytest.approx(0.5**0.5), pytest.approx(6 / 2**0.5)]


def test_other_kinds(tmp_path: Path) -> None:
    name = f"transformer.{QUERY}"
    loha = {f"{name}.hada_{part}": draw(*((16, 2) if part[-1] == "a" else (2, 16)), seed=seed)
            for seed, part in enumerate(("w1_a", "w1_b", "w2_a", "w2_b"))}  # fmt: skip
    (path,) = opened(tmp_path, {**loha, f"{name}.alpha": torch.tensor(4.0)}).adapter.paths.values()
    assert isinstance(path, Hadamard)
    assert path.scale == 2.0
    lokr = {f"{name}.lokr_w1": draw(4, 4), f"{name}.lokr_w2_a": draw(4, 2), f"{name}.lokr_w2_b": draw(2, 4)}
    (path,) = opened(tmp_path, {**lokr, f"{name}.alpha": torch.tensor(1.0)}).adapter.paths.values()
    assert isinstance(path, Kronecker)
    assert path.scale == 0.5
    whole = {f"{name}.lokr_w1": draw(4, 2), f"{name}.lokr_w2": draw(4, 8), f"{name}.alpha": torch.tensor(7.0)}
    (path,) = opened(tmp_path, whole).adapter.paths.values()
    assert path.scale == 1.0  # there is no rank that alpha could be divided by
    (path,) = opened(tmp_path, {f"{name}.diff": draw(16, 16)}).adapter.paths.values()
    assert isinstance(path, Full)
    dora = {**lora(name), f"{name}.dora_scale": draw(16, 1).abs() + 1}
    (path,) = opened(tmp_path, dora).adapter.paths.values()
    assert isinstance(path, LowRank)
    assert path.magnitude is not None


def test_what_is_written_is_read_again_to_the_bit(tmp_path: Path) -> None:
    convolved = {f"{EXPAND}.lora_A.weight": draw(2, 16, 1, 1), f"{EXPAND}.lora_B.weight": draw(80, 2, 1, 1)}
    magnitude = {f"{QUERY}.lora_magnitude_vector": draw(16).abs() + 1}
    kron = {f"proj_out.lokr_{name}": draw(2, 4, seed=seed) for seed, name in enumerate(("w1", "w2"))}
    first = opened(tmp_path, {**lora(rank=3), **magnitude, **convolved, **kron, f"{QUERY}.alpha": torch.tensor(6.0)})
    path = tmp_path / "again.safetensors"
    facts = tags(title="cat", trained_on="starter", trigger="zorbl", num_images=6)
    write_adapter(path, first.adapter, LAYERS, facts=facts)
    again = open_adapter(path, LAYERS)
    assert again.file.metadata["modelspec.trigger_phrase"] == "zorbl"
    assert load_file(path)[f"transformer.{EXPAND}.lora_A.weight"].shape == (2, 16, 1, 1)
    assert again.adapter.paths.keys() == first.adapter.paths.keys()
    for name, own in first.adapter.paths.items():
        other = again.adapter.paths[name]
        assert type(own) is type(other)
        assert own.scale == other.scale
        assert torch.equal(own.matrix(), other.matrix())


def broken(part: str) -> dict[str, Tensor]:
    """Files that are refused, by what the sentence must say."""
    name = f"transformer.{QUERY}"
    good = lora(name)
    down, up = good
    match part:
        case "matches no layer":
            return lora("transformer.double_blocks.0.to_q")
        case "changes nothing":
            return {**good, up: torch.zeros(16, 2)}
        case "changes nothing:":
            return {**good, f"{name}.alpha": torch.tensor(0.0)}
        case "the change of":
            return {down: 1e30 * good[down], up: 1e30 * good[up]}
        case "is 24x24 and not 16x16":
            return lora(name, size=24)
        case "deeper model":
            return {**good, **lora("transformer.transformer_blocks.19.attn1.to_q")}
        case "no number":
            return {**good, up: torch.full((16, 2), torch.nan)}
        case "make no matrix":
            return {**good, up: draw(16, 3)}
        case "has down":
            return {down: good[down]}
        case "in int64":
            return {**good, up: torch.ones(16, 2, dtype=torch.int64)}
        case "two adapters":
            return {**good, f"{name}.lora_A.old.weight": draw(2, 16)}
        case "names transformer_blocks.1.attn1.to_q twice":
            return {**good, **lora(QUERY)}
        case "magnitude of":
            return {**good, f"{name}.dora_scale": draw(1, 16)}
        case "oft_blocks, which make":
            return {f"{name}.oft_blocks": draw(4, 4, 4), f"{name}.alpha": torch.tensor(1.0)}
        case "an alpha":
            return {**good, f"{name}.alpha": draw(2)}
        case "holds no adapter":
            return {"transformer.proj_out.weight": draw(4, 16)}
    raise AssertionError(part)


@pytest.mark.parametrize(
    "part",
    [
        "matches no layer", "changes nothing", "changes nothing:", "the change of",
        "is 24x24 and not 16x16", "deeper model", "no number", "make no matrix",
        "has down", "oft_blocks, which make", "in int64", "two adapters",
        "names transformer_blocks.1.attn1.to_q twice", "magnitude of",
        "an alpha", "holds no adapter",
    ],
)  # fmt: skip
def test_others_are_refused_in_a_sentence(part: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=part) as told:
        opened(tmp_path, broken(part))
    assert "adapter.safetensors" in str(told.value)


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x80\x04pickle", b"PK\x03\x04" + bytes(40), bytes(7), b"\xff" * 64):
        path = tmp_path / "bad.safetensors"
        path.write_bytes(content)
        with pytest.raises(SanakitError):
            read_adapter(path)
    (tmp_path / "lora.ckpt").write_bytes(b"x")
    for path in (tmp_path / "lora.ckpt", tmp_path / "none.safetensors"):
        with pytest.raises(CheckpointError):
            read_adapter(path)
    save_file(lora(), tmp_path / "odd.safetensors", metadata={METADATA: "[1]"})
    with pytest.raises(CheckpointError, match="JSON"):
        read_adapter(tmp_path / "odd.safetensors")
    save_file(lora(), tmp_path / "odder.safetensors", metadata={METADATA: '{"transformer.r": {}, "lora_alpha": "x"}'})
    with pytest.raises(CheckpointError, match="alpha"):
        open_adapter(tmp_path / "odder.safetensors", LAYERS)
    lines = "(?x:" + ".*\n" * 9 + "!)"
    for tangled in ("(.+)+!", ".*.*.*.*.*.*.*.*.*!", lines, "(.|.)" * 30 + "!", ".?" * 30 + "!", "a" * 201):
        settings = json.dumps({"transformer.r": 2, "transformer.alpha_pattern": {tangled: 1}})
        save_file(lora(), tmp_path / "tangled.safetensors", metadata={METADATA: settings})
        with pytest.raises(CheckpointError, match="for ever"):
            open_adapter(tmp_path / "tangled.safetensors", LAYERS)
    save_file({**lora(), f"{QUERY}.dora_scale": torch.tensor(1.0)}, tmp_path / "short.safetensors")
    with pytest.raises(CheckpointError, match="and not 16 rows"):
        open_adapter(tmp_path / "short.safetensors", LAYERS)


def test_layers_of_other_networks_are_told(tmp_path: Path) -> None:
    fitted = opened(tmp_path, {**lora(), **lora("text_encoder.layers.0.q_proj"), "bundle_emb.x": draw(3)})
    assert fitted.unmatched == ("text_encoder.layers.0.q_proj",)
    assert fitted.file.strange == ("bundle_emb.x",)


def test_sprint_has_its_own_places(tmp_path: Path) -> None:
    layers = Layers.of(LINEAR_DIT, replace(CONFIG, guidance_embeds=True))
    name = "time_embed.guidance_embedder.linear_2"
    save_file(lora(f"transformer.{name}"), tmp_path / "sprint.safetensors")
    assert list(open_adapter(tmp_path / "sprint.safetensors", layers).adapter.paths) == [name]
    with pytest.raises(CheckpointError, match="matches no layer"):
        fit_adapter(read_adapter(tmp_path / "sprint.safetensors"), LAYERS)
