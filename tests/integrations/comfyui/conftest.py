"""The stand-in for ComfyUI in its place, and a tiny model in its folders."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tests.integrations.comfyui.stub_host import Host


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """In whose process the nodes are."""
    found = Host(tmp_path)
    modules: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.model_management": {
            "get_torch_device": lambda: torch.device("cpu"),
            "unet_offload_device": lambda: torch.device("cpu"),
            "load_models_gpu": found.load_models_gpu,
            "throw_exception_if_processing_interrupted": found.throw_exception_if_processing_interrupted,
        },
        "comfy.model_patcher": {"ModelPatcher": found.patcher},
        "comfy.utils": {"ProgressBar": found.bar},
        "comfy.cli_args": {"args": found.args},
        "folder_paths": {
            "models_dir": str(tmp_path / "models"),
            "get_output_directory": lambda: str(tmp_path / "output"),
            "get_input_directory": lambda: str(tmp_path / "input"),
            "get_annotated_filepath": lambda name: str(tmp_path / "input" / name),
            **{name: getattr(found, name) for name in dir(found) if name.startswith(("get_", "add_", "folder_names"))},
        },
        "server": {
            "PromptServer": SimpleNamespace(
                instance=SimpleNamespace(send_progress_text=lambda text, node: found.texts.append((node, text)))
            )
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    return found


@pytest.fixture
def tiny(host: Host, tiny_model: Path) -> str:
    """The tiny model in ComfyUI's folder of diffusers models, by its name in a graph."""
    shutil.copytree(tiny_model, host.folder / "models" / "diffusers" / "tiny")
    return "diffusers/tiny"
