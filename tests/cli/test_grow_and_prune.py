"""``grow`` and ``prune``, on a tiny model and on the starter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sanakit.checkpoints.editing.derived_model import read_base
from sanakit.checkpoints.opening import load_bundle
from sanakit.pipelines.text_to_image import TextToImagePipeline


def stored(source: object) -> dict[str, torch.Tensor]:
    return read_base(str(source))[1].tensors


def num_blocks(tensors: dict[str, torch.Tensor]) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})


def test_grow_writes_a_model(run: Any, tiny_model: Path) -> None:
    outcome = run("grow", tiny_model, "deep", "--num-layers", 5, "--drop-last", 1)
    assert (outcome.code, outcome.out) == (0, "deep\n")
    assert "1 copied, 4 new" in outcome.err
    bundle, base = load_bundle("deep"), load_bundle(tiny_model)
    assert bundle.transformer.config.num_layers == 5
    assert bundle.card.name == "tiny-5-blocks"
    assert bundle.card.hashes["transformer"] == bundle.hash_memory()["transformer"]
    assert bundle.card.hashes["autoencoder"] == base.card.hashes["autoencoder"] == base.hash_memory()["autoencoder"]
    record = json.loads(Path("deep/derived.json").read_text())
    assert record["base"] == {"name": "tiny", "transformer": base.card.hashes["transformer"], "num_layers": 2}
    assert record["origins"] == [0, None, None, None, None]
    assert TextToImagePipeline(bundle)("a cat").images[0].image is not None
    assert run("grow", tiny_model, "deep", "--num-layers", 5).code == 2
    assert run("grow", tiny_model, "deep", "--num-layers", 4, "--drop-last", 0, "--force").code == 0
    assert load_bundle("deep").card.defaults.pag_layers == (1,)  # the block that it was before


def test_the_starter_grows_and_opens(run: Any) -> None:
    kept = num_blocks(stored("starter")) - 2
    outcome = run("grow", "starter", "grown", "--num-layers", kept + 6, "--json")
    assert json.loads(outcome.out) == {"target": "grown", "origins": [*range(kept), *[None] * 6], "num_new": 6}
    before, after = stored("starter"), stored("grown")
    left_out = tuple(f"blocks.{number}." for number in (kept, kept + 1))
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items() if not name.startswith(left_out))
    assert num_blocks(after) == kept + 6
    assert {tensor.dtype for tensor in after.values()} == {torch.bfloat16}
    assert not Path("grown/text_encoder").exists()  # the starter's is kept in the user's cache


def test_grow_from_a_file(run: Any, tiny_model: Path) -> None:
    """A single file has a transformer alone, and so has what grows from it."""
    run("convert", tiny_model, "one.safetensors")
    assert (
        run("grow", "one.safetensors", "deep", "--num-layers", 3, "--strategy", "cyclic-replication", "--qk-norm").code
        == 0
    )
    assert not Path("deep/vae").exists()
    tensors = stored("deep")
    assert torch.equal(tensors["blocks.2.attention.qkv.weight"], tensors["blocks.0.attention.qkv.weight"])
    assert (tensors["blocks.1.cross_attention.norm_k.weight"] == 1).all()


@pytest.mark.parametrize(("words", "message"), [
    (["deep", "--num-layers", 2], "does not grow"), (["deep.safetensors", "--num-layers", 4], "looks like a file"),
    (["deep", "--num-layers", 4, "--strategy", "cyclic-replication", "--drop-last", 1], "--drop-last"),
    (["deep", "--num-layers", 5, "--strategy", "block-expansion"], "multiple of 2"),
    (["deep", "--num-layers", 4, "--strategy", "sideways"], "sideways"), (["deep"], "--num-layers"),
])  # fmt: skip
def test_grow_refuses_in_one_sentence(run: Any, tiny_model: Path, words: list[object], message: str) -> None:
    outcome = run("grow", tiny_model, *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert not Path("deep").exists()


def test_prune_leaves_out_the_block_that_changes_least(run: Any, tiny_model: Path) -> None:
    run("grow", tiny_model, "deep", "--num-layers", 4, "--drop-last", 0)  # blocks 2 and 3 change nothing
    Path("words.txt").write_text("a cat\n# a remark\nzwei Hunde ✓\n", encoding="utf-8")
    outcome = run("prune", "deep", "small", "--num-layers", 2, "--prompts", "words.txt", "--steps", 2, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["kept"] == [0, 1]
    assert min(told["importance"][:2]) > 1e-4
    assert max(told["importance"][2:]) < 1e-6
    before, after = stored(tiny_model), stored("small")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    record = json.loads(Path("small/derived.json").read_text())["pruning"]
    assert record["prompts"] == ["a cat", "zwei Hunde ✓"]
    assert record["importance"] == pytest.approx(told["importance"], abs=1e-6)
    assert TextToImagePipeline(load_bundle("small"))("a cat").images[0].image is not None


def test_prune_prints_a_table_and_keeps_what_it_is_told(run: Any, tiny_model: Path) -> None:
    run("grow", tiny_model, "deep", "--num-layers", 4, "--drop-last", 0)
    outcome = run("prune", "deep", "small", "--num-layers", 2, "--keep-last", 1, "--keep-first", 1, "--steps", 1)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "small"
    assert outcome.out.count("stays") == 2
    assert outcome.out.count("left out") == 2
    assert json.loads(Path("small/derived.json").read_text())["origins"] == [0, 3]


@pytest.mark.parametrize(("words", "message"), [
    (["--num-layers", 2], "cannot be cut down to 2"), (["--num-layers", 1, "--keep-first", 2], "cannot all stay"),
    (["--num-layers", 1, "--prompts", "missing.txt"], "--prompts missing.txt cannot be read"),
    (["--num-layers", 1, "--steps", 0], "--steps 0 is not usable"),
])  # fmt: skip
def test_prune_refuses_in_one_sentence(run: Any, tiny_model: Path, words: list[object], message: str) -> None:
    outcome = run("prune", tiny_model, "small", *words)
    assert outcome.code == 2
    assert message in outcome.err
    assert not Path("small").exists()
