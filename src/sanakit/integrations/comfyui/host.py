"""What the nodes ask of ComfyUI, in whose process they run: devices, folders, progress, whether to stop.

ComfyUI is no package that could be installed: its modules are there where it runs, and are imported when they are
needed. Nothing else in this room imports them.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sanakit.common.paths import CLIP_SUFFIXES
from sanakit.pipelines.clips.files import STILLS
from sanakit.pipelines.events import Event, Notice, StepDone

logger = logging.getLogger(__name__)

OWN_FOLDER = "sanakit"
"""Of ComfyUI's models, for those that are none of its own: model folders, and ``styles.yaml``."""

_SUFFIXES = (".safetensors", ".pth")


def _host(name: str) -> Any:
    return importlib.import_module(name)


def load_device() -> torch.device:
    """Where ComfyUI has networks work."""
    return _host("comfy.model_management").get_torch_device()


def offload_device() -> torch.device:
    """Where it keeps those whose turn it is not."""
    return _host("comfy.model_management").unet_offload_device()


class ManagedNetwork(nn.Module):
    """A network as ComfyUI's device manager holds it, which moves it and notes here where it put it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.device = network, None


def managed(network: nn.Module) -> Any:
    """Put a network under ComfyUI's device manager, which lets it go when what is returned is gone."""
    patcher = _host("comfy.model_patcher").ModelPatcher
    return patcher(ManagedNetwork(network), load_device=load_device(), offload_device=offload_device())


def bring(patcher: Any) -> None:
    """Have a managed network wholly where it works; others leave where there is no room for both."""
    _host("comfy.model_management").load_models_gpu([patcher], force_full_load=True)


def stop_if_asked() -> None:
    """Raises ComfyUI's own exception where its user wants no more of this."""
    _host("comfy.model_management").throw_exception_if_processing_interrupted()


class Telling:
    """A listener of a pipeline: steps to ComfyUI's progress bar, notices to its log and onto the node."""

    def __init__(self, node: str | None) -> None:
        self._node, self._done = node, 0
        self._bar: Any = None
        self._notices: list[str] = []

    def __call__(self, event: Event) -> None:
        stop_if_asked()
        match event:
            case StepDone():
                self._done += 1
                self.progress(self._done, event.total * event.num_images)
            case Notice():
                self._tell(event.message)

    def progress(self, done: int, total: int) -> None:
        """So much is done of ``total``."""
        self._bar = self._bar or _host("comfy.utils").ProgressBar(total)
        self._bar.update_absolute(done, total)

    def _tell(self, notice: str) -> None:
        logger.warning("sanakit: %s", notice)
        self._notices.append(notice)
        server: Any = getattr(_host("server").PromptServer, "instance", None)
        if self._node is not None and hasattr(server, "send_progress_text"):  # since 0.3.41
            server.send_progress_text("\n".join(self._notices), self._node)


def prepare_folders() -> None:
    """Have ComfyUI know the folder of our models; for once, when nodes are loaded."""
    paths = _host("folder_paths")
    paths.add_model_folder_path(OWN_FOLDER, str(own_folder()))
    place, suffixes = paths.folder_names_and_paths[OWN_FOLDER]
    paths.folder_names_and_paths[OWN_FOLDER] = (place, {*suffixes, *_SUFFIXES})


def own_folder() -> Path:
    """That of our models, among ComfyUI's own."""
    return Path(_host("folder_paths").models_dir) / OWN_FOLDER


def model_names() -> list[str]:
    """Files and folders that may hold a model, each after the kind of folder that ComfyUI has it in."""
    return _names(("diffusers", OWN_FOLDER), "model_index.json", ("diffusion_models", "checkpoints", OWN_FOLDER))


def control_names() -> list[str]:
    """Those that may hold a ControlNet."""
    return _names(("controlnet",), "config.json", ("controlnet",))


def _names(kinds_of_folders: Sequence[str], index: str, kinds_of_files: Sequence[str]) -> list[str]:
    paths = _host("folder_paths")
    places = [(kind, Path(place)) for kind in kinds_of_folders for place in paths.get_folder_paths(kind)]
    indices = [(kind, place, file) for kind, place in places for file in sorted(place.glob(f"**/*/{index}"))]
    folders = [f"{kind}/{file.parent.relative_to(place).as_posix()}" for kind, place, file in indices]
    listed = {kind: paths.get_filename_list(kind) for kind in kinds_of_files}
    files = [f"{kind}/{name}" for kind, names in listed.items() for name in names if name.endswith(_SUFFIXES)]
    within = tuple(f"{name}/" for name in folders)
    return [*folders, *(name for name in files if not name.replace("\\", "/").startswith(within))]


def path_of(name: str) -> Path:
    """Of one of these names; what ComfyUI raises comes out where it is not there."""
    paths, (kind, _, rest) = _host("folder_paths"), name.partition("/")
    folder = next((place for own in paths.get_folder_paths(kind) if (place := Path(own) / rest).is_dir()), None)
    return folder or Path(paths.get_full_path_or_raise(kind, rest))


def adapter_names() -> list[str]:
    """Of ComfyUI's folder of LoRA."""
    return [name for name in _host("folder_paths").get_filename_list("loras") if name.endswith(".safetensors")]


def adapter_path(name: str) -> Path:
    """Of one of ``adapter_names``."""
    return Path(_host("folder_paths").get_full_path_or_raise("loras", name))


def clip_names() -> list[str]:
    """Clips in ComfyUI's input folder."""
    folder = Path(_host("folder_paths").get_input_directory())
    clips = CLIP_SUFFIXES | STILLS
    found = (file for file in folder.rglob("*") if file.suffix.lower() in clips and file.is_file())
    return sorted(file.relative_to(folder).as_posix() for file in found)


def input_path(name: str) -> Path:
    """Of a file there."""
    return Path(_host("folder_paths").get_annotated_filepath(name))


def rescue_folder() -> Path:
    """Where latents are kept that could not be decoded."""
    return Path(_host("folder_paths").get_output_directory()) / "sanakit-latents"


def picture_places(prefix: str, sizes: Sequence[tuple[int, int]], *, suffix: str = ".png") -> tuple[list[Path], str]:
    """Files for new pictures of these widths and heights, as ComfyUI names its own, and their folder below its
    output."""
    paths = _host("folder_paths")
    folder, stem, first, below, _ = paths.get_save_image_path(prefix, paths.get_output_directory(), *sizes[0])
    stems = [stem.replace("%batch_num%", str(index)) for index in range(len(sizes))]
    return [Path(folder) / f"{name}_{first + index:05}_{suffix}" for index, name in enumerate(stems)], below


def graph_texts(prompt: object, others: Mapping[str, object] | None) -> dict[str, str]:
    """What a PNG holds of the graph that made it, by keyword; nothing where ComfyUI was told to leave that out."""
    if _host("comfy.cli_args").args.disable_metadata:
        return {}
    return {name: json.dumps(value) for name, value in {"prompt": prompt, **(others or {})}.items() if value}
