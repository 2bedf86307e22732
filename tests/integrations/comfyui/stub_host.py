"""A stand-in for ComfyUI: the modules that nodes ask, and a graph run as it runs one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from sanakit.integrations.comfyui import NODE_CLASS_MAPPINGS


class Interrupted(Exception):  # noqa: N818
    """As ComfyUI's own, which is none of ours."""


class Host:
    """What ComfyUI is told, and what it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.progress, self.brought = folder, list[tuple[int, int]](), list[str]()
        self.texts, self.stop_after = list[tuple[str, str]](), -1
        self.args = SimpleNamespace(disable_metadata=False)
        self.folder_names_and_paths: dict[str, tuple[list[str], set[str]]] = {}
        for kind in ("diffusion_models", "checkpoints", "diffusers", "loras", "controlnet"):
            self.add_model_folder_path(kind, str(folder / "models" / kind))
            Path(folder / "models" / kind).mkdir(parents=True)

    def add_model_folder_path(self, kind: str, place: str) -> None:
        self.folder_names_and_paths.setdefault(kind, ([], set()))[0].append(place)

    def get_folder_paths(self, kind: str) -> list[str]:
        return self.folder_names_and_paths[kind][0]

    def get_filename_list(self, kind: str) -> list[str]:
        places = map(Path, self.get_folder_paths(kind))
        return [str(file.relative_to(place)) for place in places for file in sorted(place.rglob("*")) if file.is_file()]

    def get_full_path_or_raise(self, kind: str, name: str) -> str:
        found = [place for own in self.get_folder_paths(kind) if (place := Path(own) / name).is_file()]
        if not found:
            raise FileNotFoundError(f"Model in folder '{kind}' with filename '{name}' not found.")
        return str(found[0])

    def get_save_image_path(self, prefix: str, output: str, width: int, height: int) -> tuple[str, str, int, str, str]:
        assert width > 0
        assert height > 0
        place = Path(output) / prefix
        place.parent.mkdir(parents=True, exist_ok=True)
        below = place.parent.relative_to(output)
        return str(place.parent), place.name, 1, "" if below == Path() else str(below), prefix

    def patcher(self, model: torch.nn.Module, *, load_device: torch.device, offload_device: torch.device) -> Any:
        assert (load_device, offload_device) == (torch.device("cpu"), torch.device("cpu"))
        return SimpleNamespace(model=model)

    def load_models_gpu(self, patchers: list[Any], *, force_full_load: bool) -> None:
        assert force_full_load
        self.brought += [type(each.model.network).__name__ for each in patchers]

    def throw_exception_if_processing_interrupted(self) -> None:
        if 0 <= self.stop_after <= len(self.progress):
            raise Interrupted

    def bar(self, total: int) -> Any:
        assert total > 0
        return SimpleNamespace(update_absolute=lambda done, total: self.progress.append((done, total)))

    def run(self, graph: Mapping[str, Mapping[str, Any]], **hidden: Any) -> dict[str, Any]:
        """All outputs by node, each after those that it is wired to; what is not given has its default, or is
        missing where it is optional, as in ComfyUI."""
        done: dict[str, Any] = {}
        while len(done) < len(graph):
            for name, each in graph.items():
                wires = {key: value for key, value in each["inputs"].items() if isinstance(value, list)}
                if name in done or any(source not in done for source, _ in wires.values()):
                    continue
                node = NODE_CLASS_MAPPINGS[each["class_type"]]
                told = {"UNIQUE_ID": name, "PROMPT": graph, "EXTRA_PNGINFO": {"workflow": {"nodes": []}}} | hidden
                asked = node.INPUT_TYPES().get("hidden", {})
                given = {**each["inputs"], **{key: done[source][slot] for key, (source, slot) in wires.items()}}
                missing = node.INPUT_TYPES()["required"].keys() - given.keys()
                assert not missing, (each, missing)
                with torch.inference_mode():
                    made = getattr(node(), node.FUNCTION)(**given, **{key: told[kind] for key, kind in asked.items()})
                done[name] = made
        return done
