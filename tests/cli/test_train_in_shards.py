"""What is trained beside a frozen transformer, on two processes that hold a part of it each: as one process does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sanakit.common.config import from_mapping
from sanakit.training.recipes.train import train
from sanakit.training.recipes.transformer.recipe import TransformerRecipe
from sanakit.training.watching.report import read_log

CODE = (
    "import json, sys\nfrom pathlib import Path\nfrom sanakit.common.config import from_mapping\n"
    "from sanakit.training.recipes.transformer.recipe import TransformerRecipe\n"
    "from sanakit.training.recipes.train import train\n"
    "train(from_mapping(TransformerRecipe, json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
)


def on_two(settings: dict[str, Any], folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    command = [sys.executable, "-c", CODE, json.dumps(settings), str(folder)]
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    processes = [subprocess.Popen(command, env=shared | rank, stderr=subprocess.PIPE, text=True) for rank in ranks]
    for process in processes:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("beside", "file"),
    [
        ({"adapter": {"rank": 2}}, "adapter/pytorch_lora_weights.safetensors"),
        ({"adapter": {"rank": 2, "kind": "dora"}}, "adapter/pytorch_lora_weights.safetensors"),
        ({"control": {"blocks": 1}}, "controlnet/diffusion_pytorch_model.safetensors"),
        ({"control": {"blocks": 1, "topology": "diffusers"}}, "controlnet/diffusion_pytorch_model.safetensors"),
    ],
    ids=["lora", "dora", "control", "control-diffusers"],
)  # fmt: skip
def test_two_processes_with_shards_do_what_one_does(
    tmp_path: Path, short_run: dict[str, Any], beside: dict[str, Any], file: str
) -> None:
    stage = {**short_run["stages"][0], "steps": 3, "batch_size": 1, "learning_rate": 1e-3}
    plain = {**short_run, **beside, "caption_dropout": 0.0, "optimizer": {"type": "adamw", "eps": 1e-4}}
    on_two({**plain, "parallel": "fsdp", "stages": [{**stage, "accumulation": 1}]}, tmp_path / "two")
    train(from_mapping(TransformerRecipe, {**plain, "stages": [{**stage, "accumulation": 2}]}), tmp_path / "one")
    one, two = ([line["loss"] for line in read_log(tmp_path / name / "log.jsonl")] for name in ("one", "two"))
    assert two == pytest.approx(one, rel=2e-4)
    first, second = (load_file(tmp_path / name / file) for name in ("one", "two"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(second[name].float(), tensor.float(), rtol=2e-2, atol=2e-4)
