"""Every spelling of a variant's files that diffusers and transformers have written is found, here and on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sanakit.checkpoints.files.hub_files import choose_files
from sanakit.checkpoints.files.reader import find_weight_files
from sanakit.checkpoints.files.weight_names import WeightName, index_names, read_weight_name
from sanakit.checkpoints.files.writer import write_safetensors
from sanakit.common.errors import CheckpointError

STEM = "diffusion_pytorch_model"
TODAY = (f"{STEM}.fp16-00001-of-00002.safetensors", f"{STEM}.fp16-00002-of-00002.safetensors")
OLDER = (f"{STEM}-00001-of-00002.fp16.safetensors", f"{STEM}-00002-of-00002.fp16.safetensors")
PLAIN = (f"{STEM}-00001-of-00002.safetensors", f"{STEM}-00002-of-00002.safetensors")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.safetensors", WeightName("model", None)),
        ("model.bf16.safetensors", WeightName("model", "bf16")),
        (PLAIN[0], WeightName(STEM, None)),
        (TODAY[0], WeightName(STEM, "fp16")),
        (OLDER[1], WeightName(STEM, "fp16")),
        ("model.safetensors.index.json", WeightName("model", None)),
        *((name, WeightName("model", "bf16")) for name in index_names("model", "bf16")),
        ("config.json", None),
        ("pytorch_model.bin", WeightName("pytorch_model", None, ".bin")),
        ("pytorch_model.fp16-00001-of-00002.bin", WeightName("pytorch_model", "fp16", ".bin")),
        ("pytorch_model.bin.index.fp16.json", WeightName("pytorch_model", "fp16", ".bin")),
        ("rng_state.pth", None),
        ("tokenizer.json", None),
    ],
)
def test_a_name_is_read(name: str, expected: WeightName | None) -> None:
    assert read_weight_name(name) == expected


@pytest.mark.parametrize("shards", [TODAY, OLDER])
@pytest.mark.parametrize("index", index_names(STEM, "fp16"))
def test_a_sharded_variant_beside_plain_shards(tmp_path: Path, shards: tuple[str, ...], index: str) -> None:
    for names, index_name in ((PLAIN, f"{STEM}.safetensors.index.json"), (shards, index)):
        for name in names:
            write_safetensors(tmp_path / name, {name[-18:]: torch.zeros(1)}, {})
        (tmp_path / index_name).write_text(json.dumps({"weight_map": {name: name for name in names}}))
    (tmp_path / "config.json").write_text("{}")
    assert [path.name for path in find_weight_files(tmp_path, variant="fp16")] == list(shards)
    assert [path.name for path in find_weight_files(tmp_path)] == list(PLAIN)
    names = [path.name for path in tmp_path.iterdir()]
    assert set(choose_files(names, variant="fp16")) == {"config.json", index, *shards}
    assert set(choose_files(names)) == {"config.json", f"{STEM}.safetensors.index.json", *PLAIN}


def test_a_transformer_without_the_wanted_variant_is_refused_before_it_is_fetched() -> None:
    folder = ["model_index.json", "transformer/config.json", f"transformer/{STEM}.safetensors"]
    with pytest.raises(CheckpointError, match="org/name has no bf16 files of its transformer"):
        choose_files(folder, variant="bf16", where="org/name")
