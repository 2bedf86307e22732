"""What a model source holds: a diffusers folder, one component's folder, or a single file of weights.

A source is a path, a hub id, or ``starter``. Nothing is loaded here; files are told by their names and headers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from sanakit.checkpoints.files.hub import resolve_source
from sanakit.checkpoints.files.hub_files import COMPONENTS
from sanakit.checkpoints.files.reader import WeightHeader, find_weight_files, read_header, read_json
from sanakit.checkpoints.files.weight_names import variants_among
from sanakit.checkpoints.identity.card import ModelCard, card_from_metadata, read_card
from sanakit.checkpoints.identity.known_models import names_of
from sanakit.checkpoints.networks.dc_ae_keys import find_dc_ae_layout
from sanakit.checkpoints.networks.infer_config import looks_like
from sanakit.checkpoints.networks.linear_dit_keys import find_linear_dit_layout
from sanakit.checkpoints.networks.strict_load import WeightSource
from sanakit.common.errors import CheckpointError

STARTER = "starter"
CONFIG_KEY = "config"  # of the metadata of a single safetensors file
PIPELINES = ("SanaPipeline", "SanaPAGPipeline", "SanaSprintPipeline")
OTHER_FAMILIES = {
    "SanaVideoPipeline": "a video model", "SanaImageToVideoPipeline": "a video model",
    "SanaControlNetPipeline": "a model with a ControlNet", "SanaSprintImg2ImgPipeline": "an image-to-image model",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class HubOptions:
    """How a hub id becomes files on this machine; the usual loader arguments."""

    revision: str | None = None
    cache_dir: Path | None = None
    local_files_only: bool = False
    token: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelParts:
    """The components that a source holds, None where it lacks one."""

    source: str
    path: Path
    names: str  # what source and files are called, for what is known by name
    transformer: WeightSource | None = None
    autoencoder: WeightSource | None = None
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    scheduler: Mapping[str, Any] | None = None
    card: ModelCard | None = None
    variant: str | None = None
    revision: str | None = None


def find_parts(
    source: str | Path,
    *,
    variant: str | None = None,
    hub: HubOptions | None = None,
    components: Collection[str] = COMPONENTS,
) -> ModelParts:
    """Locate a source and list its components; of a hub id only the folders in ``components`` are fetched.

    Raises:
        CheckpointError: nothing is there, or it is no SANA model; the sentence says what it is.
        DownloadError: a hub id that is not on this machine could not be fetched.
    """
    path = locate(source, variant=variant, hub=hub or HubOptions(), components=components)
    names = names_of(str(source), path)
    if path.is_file():
        return parts_of_file(str(source), path, names)
    if (path / "model_index.json").is_file() or (path / "transformer").is_dir():
        return parts_of_folder(str(source), path, names, variant)
    if (path / "config.json").is_file():
        return parts_of_component(str(source), path, names, variant)
    return parts_of_file(str(source), find_upstream_file(path), names)


def locate(
    source: str | Path, *, hub: HubOptions, variant: str | None = None, components: Collection[str] = COMPONENTS
) -> Path:
    """A path on this machine: a local one always wins, then ``starter``, then the hub's cache and the hub."""
    local = Path(source).expanduser()
    if local.exists():
        return local
    if str(source) == STARTER:
        folder = Path(str(resources.files("sanakit") / "starter"))
        if not (folder / "model_index.json").is_file():
            raise CheckpointError(f"the starter's weights are not installed: {folder} has no model_index.json")
        return folder
    return resolve_source(
        str(source), components=components, variant=variant, revision=hub.revision, cache_dir=hub.cache_dir,
        local_files_only=hub.local_files_only, token=hub.token,
    )  # fmt: skip


def parts_of_folder(source: str, folder: Path, names: str, variant: str | None) -> ModelParts:
    """A diffusers folder; components that it lacks are left out."""
    if (folder / "model_index.json").is_file():
        check_pipeline(folder, str(read_json(folder / "model_index.json").get("_class_name")))
    if not (folder / "transformer").is_dir() and not (folder / "vae").is_dir():
        raise CheckpointError(f"{folder} has neither of the folders transformer and vae: the model is incomplete")
    scheduler = folder / "scheduler" / "scheduler_config.json"
    return ModelParts(
        source=source,
        path=folder,
        names=names,
        transformer=component(folder / "transformer", "SanaTransformer2DModel", names, variant),
        autoencoder=component(folder / "vae", "AutoencoderDC", names, variant),
        text_encoder=existing(folder / "text_encoder"),
        tokenizer=existing(folder / "tokenizer"),
        scheduler=read_json(scheduler) if scheduler.is_file() else None,
        card=read_card(folder),
        variant=variant,
    )


def check_pipeline(folder: Path, class_name: str) -> None:
    if class_name in PIPELINES:
        return
    kind = f"a {class_name}" + (f", {OTHER_FAMILIES[class_name]}" if class_name in OTHER_FAMILIES else "")
    raise CheckpointError(f"{folder} is {kind}; sanakit runs {' and '.join(PIPELINES[:2])} folders")


def parts_of_component(source: str, folder: Path, names: str, variant: str | None) -> ModelParts:
    """A folder with one component's ``config.json``, such as ``dc-ae-f32c32-sana-1.1-diffusers``."""
    class_name = read_json(folder / "config.json").get("_class_name")
    if class_name == "SanaTransformer2DModel":
        return ModelParts(
            source=source, path=folder, names=names, variant=variant, card=read_card(folder),
            transformer=component(folder, "SanaTransformer2DModel", names, variant),
        )  # fmt: skip
    if class_name == "AutoencoderDC" or (class_name is None and list(folder.glob("model*.safetensors"))):
        return ModelParts(
            source=source, path=folder, names=names, variant=variant,
            autoencoder=component(folder, "AutoencoderDC", names, variant),
        )  # fmt: skip
    raise CheckpointError(f"{folder} holds {class_name or 'a model that names no class'}; sanakit reads SANA models")


def component(folder: Path, class_name: str, names: str, variant: str | None) -> WeightSource | None:
    """One network's folder; the variant's files when they are there, and the plain ones for parts without variants."""
    if not folder.is_dir():
        return None
    config = read_json(folder / "config.json")
    found = config.get("_class_name")
    if found is None:  # the original DC-AE repositories keep their own small config.json
        files = find_weight_files(folder, stem="model")
        return WeightSource(files=files, names=f"{names} {config.get('model_name', '')}")
    if found != class_name:
        raise CheckpointError(f"{folder} holds a {found}; sanakit needs a {class_name} there")
    return WeightSource(files=component_files(folder, variant), config=config, names=names)


def component_files(folder: Path, variant: str | None) -> tuple[Path, ...]:
    available = variants_among((path.name for path in folder.iterdir()), "diffusion_pytorch_model")
    if variant not in available and (variant is None or folder.name == "vae"):
        if None in available:
            return find_weight_files(folder)  # published folders have variants of the transformer alone
        if len(available) == 1:
            return find_weight_files(folder, variant=available.pop())
    return find_weight_files(folder, variant=variant)


def parts_of_file(source: str, path: Path, names: str) -> ModelParts:
    """A single file: a transformer or an autoencoder in any layout that we know."""
    header = read_header([path])
    if find_linear_dit_layout(header.tensors):
        config = config_of_file(path, header, "SanaTransformer2DModel")
        weights = WeightSource(files=(path,), config=config, names=names)
        card = card_from_metadata(header.metadata, where=str(path))
        return ModelParts(source=source, path=path, names=names, transformer=weights, card=card)
    if find_dc_ae_layout(header.tensors):
        weights = WeightSource(files=(path,), config=config_of_file(path, header, "AutoencoderDC"), names=names)
        return ModelParts(source=source, path=path, names=names, autoencoder=weights)
    raise CheckpointError(f"{path} is neither a SANA transformer nor a DC-AE autoencoder: {looks_like(header.tensors)}")


def config_of_file(path: Path, header: WeightHeader, class_name: str) -> Mapping[str, Any] | None:
    """The config inside a file that we wrote, or beside one; None when the tensors must tell."""
    if CONFIG_KEY in header.metadata:
        try:
            return dict(json.loads(header.metadata[CONFIG_KEY]))
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"the config inside {path} is not a JSON object ({error})") from error
    beside = path.with_name("config.json")
    config = read_json(beside) if beside.is_file() else {}
    return config if config.get("_class_name") == class_name else None


def find_upstream_file(folder: Path) -> Path:
    """The one file of weights in a folder without configs, as in upstream's repositories (``checkpoints/NAME.pth``)."""
    places = (folder, folder / "checkpoints")
    found = sorted(path for place in places for path in place.glob("*") if path.suffix in (".pth", ".safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"{folder} holds {len(found)} files of weights; name one of them, such as {found[0]}")
    raise CheckpointError(
        f"{folder} is no model folder: it has no model_index.json, no config.json and no .pth or .safetensors file"
    )


def existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
