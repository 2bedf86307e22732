"""What a model source holds: a diffusers folder, one component's folder, or a single file of weights.

A source is a path, a hub id, or ``starter``. Nothing is loaded here: networks are told by their headers, once.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from sanakit.checkpoints.diffusers_layout import WORDS_FILE
from sanakit.checkpoints.files.hub import HubOptions, resolve_source
from sanakit.checkpoints.files.hub_check import Snapshot
from sanakit.checkpoints.files.hub_files import only_weight_file
from sanakit.checkpoints.files.reader import (
    WeightHeader,
    exists,
    find_weight_files,
    is_folder_there,
    is_there,
    parse_json,
    read_header,
    read_json,
)
from sanakit.checkpoints.files.weight_names import choose_variant, variants_among
from sanakit.checkpoints.identity.card import ModelCard, card_from_metadata, read_card
from sanakit.checkpoints.identity.known_models import names_of
from sanakit.checkpoints.identity.scheduler import check_scheduler
from sanakit.checkpoints.networks.dc_ae import DC_AE
from sanakit.checkpoints.networks.identify import Found, identify
from sanakit.checkpoints.networks.kind import NetworkKind
from sanakit.checkpoints.networks.kinds import kind_of_class, kinds_by_folder, kinds_of_names, looks_like, nouns
from sanakit.checkpoints.networks.linear_dit import LINEAR_DIT
from sanakit.checkpoints.networks.nunchaku import as_ours
from sanakit.checkpoints.networks.refiner.lightricks import from_lightricks, networks_of
from sanakit.checkpoints.sources.origin import SHIPPED, STARTER, Origin, shipped_folder
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.common.files import as_utf8
from sanakit.common.paths import as_path, as_there
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.models.autoencoders.dc_ae_config import DCAutoencoderConfig
from sanakit.models.transformers.linear_dit import LinearDiT, LinearDiTConfig

CONFIG_KEY = "config"  # of the metadata of a single safetensors file
_OTHER_FOLDERS = ("text_encoder", "tokenizer", "scheduler")
FOLDERS_OF = {"text_encoder": ("text_encoder", "tokenizer"), "autoencoder": ("vae",)}
"""Of a diffusers folder, by the parts that another source may give."""
_PIPELINES = (
    "SanaPipeline", "SanaSprintPipeline", "SanaPAGPipeline", "SanaSprintImg2ImgPipeline", "SanaControlNetPipeline",
    "SanaVideoPipeline", "SanaImageToVideoPipeline", "LTX2Pipeline", "LTX2ImageToVideoPipeline",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelParts:
    """The components that a source holds: its networks by component, and the folders of its text encoder."""

    source: str
    path: Path
    origin: Origin
    names: str  # what source and files are called, for what is known by name
    networks: Mapping[str, Found[Any, Any]] = field(default_factory=dict)
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    scheduler: Mapping[str, Any] | None = None
    card: ModelCard | None = None
    variant: str | None = None
    revision: str | None = None
    replaced: Mapping[str, Origin] = field(default_factory=dict)  # parts that a user named instead of the model's own
    words: Path | None = None  # the file of the words that it was trained on, which few models have

    @property
    def commits(self) -> dict[str, str]:
        """The hub's commit that each component comes from, of those that come from its cache."""
        places = {name: found.header.files[0] for name, found in self.networks.items()}
        places |= {"text_encoder": self.text_encoder} if self.text_encoder is not None else {}
        found = {name: Snapshot.around(place) for name, place in places.items()}
        return {name: snapshot.commit for name, snapshot in found.items() if snapshot is not None}

    @property
    def transformer(self) -> Found[LinearDiTConfig, LinearDiT] | None:
        """Of pictures; one of clips is among the networks alone."""
        found = self.networks.get("transformer")
        return found if found is not None and found.kind is LINEAR_DIT else None

    @property
    def autoencoder(self) -> Found[DCAutoencoderConfig, DCAutoencoder] | None:
        """Of pictures, as above."""
        found = self.networks.get("autoencoder")
        return found if found is not None and found.kind is DC_AE else None


def find_parts(
    source: str | Path,
    *,
    hub: HubOptions | None = None,
    folders: Collection[str] | None = None,
    without: Collection[str] = (),
) -> ModelParts:
    """Locate a source and tell its components; only the folders in ``folders`` (all) and not in ``without`` are fetched
    and looked at.

    Raises:
        CheckpointError: nothing is there, it is no SANA model, or it is damaged; the sentence says what it is.
        DownloadError: a hub id that is not on this machine could not be fetched.
    """
    hub = hub or HubOptions()
    folders = [name for name in folders or (*kinds_by_folder(), *_OTHER_FOLDERS) if name not in without]
    path = locate(source, hub=hub, folders=folders)
    names = names_of(str(source), path)
    variant = None if path.is_file() else hub.variant
    parts = ModelParts(source=str(source), path=path, origin=Origin.of(source), names=names, variant=variant)
    if path.is_file():
        return _with_file(parts, folders)
    if is_there(path / "model_index.json") or is_folder_there(path / "transformer"):
        return _with_folder(parts, folders)
    if is_there(path / "config.json"):
        return _with_component(parts)
    files = sorted(file.relative_to(path).as_posix() for where in ("*", "checkpoints/*") for file in path.glob(where))
    only = only_weight_file(files, str(path), place="folder", address=str(path))
    return _with_file(replace(parts, path=path / only, variant=None), folders)


def locate(source: str | Path, *, hub: HubOptions, folders: Collection[str]) -> Path:
    """A path on this machine: a local one always wins, then what ships, then the hub's cache and the hub."""
    if not isinstance(source, (str, PathLike)) or not str(source).strip():
        raise RequestError(f"{source!r} names no model; give a folder, a file, a hub id, or {STARTER}")
    local = as_there(as_path(source))
    if exists(local):
        if as_utf8(str(local)) != os.fsencode(local):
            raise CheckpointError(
                f"{local} has a name that is not UTF-8, and safetensors opens no such file; rename it"
            )
        return local
    if str(source) not in SHIPPED:
        return resolve_source(str(source), folders=folders, hub=hub)
    folder = shipped_folder(str(source))
    if not (folder / "model_index.json").is_file():
        raise CheckpointError(f"the weights of {source} are not installed: {folder} has no model_index.json")
    return folder


def _with_folder(parts: ModelParts, folders: Collection[str]) -> ModelParts:
    """A diffusers folder; components that it lacks are left out."""
    folder, known = parts.path, kinds_by_folder()
    if is_there(folder / "model_index.json"):
        _check_pipeline(folder, str(read_json(folder / "model_index.json").get("_class_name")))
    present = {name: kinds for name, kinds in known.items() if is_folder_there(folder / name)}
    if not present:
        raise CheckpointError(f"{folder} has neither of the folders {' and '.join(known)}: the model is incomplete")
    card, scheduler = read_card(folder), folder / "scheduler" / "scheduler_config.json"
    found = [_network(folder / name, kinds, parts) for name, kinds in present.items() if name in folders]
    networks = {network.kind.component: network for network in found}
    settings = read_json(scheduler) if is_there(scheduler) else None
    if settings is not None and "transformer" in networks:
        is_sprint = getattr(networks["transformer"].config, "guidance_embeds", False)
        check_scheduler(settings, is_sprint=is_sprint, where=str(scheduler))
    return replace(
        parts,
        networks=networks,
        text_encoder=_existing(folder / "text_encoder"),
        tokenizer=_existing(folder / "tokenizer"),
        scheduler=settings,
        card=card,
        words=folder / WORDS_FILE if (folder / WORDS_FILE).is_file() else None,
    )


def _check_pipeline(folder: Path, class_name: str) -> None:
    if class_name in _PIPELINES:
        return
    raise CheckpointError(f"{folder} is a {class_name}; sanakit runs {' and '.join(_PIPELINES[:2])} folders")


def _with_component(parts: ModelParts) -> ModelParts:
    """A folder with one component's ``config.json``, such as ``dc-ae-f32c32-sana-1.1-diffusers``."""
    folder = parts.path
    class_name = read_json(folder / "config.json").get("_class_name")
    kind = kind_of_class(class_name)
    if kind is None and (class_name is not None or not list(folder.glob("model*.safetensors"))):
        held = class_name or "a model that names no class"
        raise CheckpointError(f"{folder} holds {held}; sanakit reads SANA models")
    network = _network(folder, (kind,) if kind else kinds_by_folder()["vae"], parts)
    return replace(parts, networks={network.kind.component: network}, card=read_card(folder))


def _network(folder: Path, kinds: Sequence[NetworkKind[Any, Any]], parts: ModelParts) -> Found[Any, Any]:
    """One network's folder; the variant's files when they are there, and the plain ones for parts without variants."""
    config = read_json(folder / "config.json")
    class_name = config.get("_class_name")
    if class_name is None:  # the original DC-AE repositories keep their own small config.json
        header = read_header(find_weight_files(folder, stem="model"))
        kind = next((kind for kind in kinds if kind.layout_of(header.tensors)), kinds[0])
        return identify(kind, header, names=f"{parts.names} {config.get('model_name', '')}")
    for kind in kinds:
        if kind.is_called(class_name):
            header = read_header(_component_files(folder, parts.variant))
            return identify(kind, header, config=config, names=parts.names)
    wanted = " or ".join(kind.class_name for kind in kinds)
    raise CheckpointError(f"{folder} holds a {class_name}; sanakit needs a {wanted} there")


def _component_files(folder: Path, variant: str | None) -> tuple[Path, ...]:
    available = variants_among((path.name for path in folder.iterdir()), "diffusion_pytorch_model")
    if variant is None or folder.name == "vae":  # published folders have variants of the transformer alone
        variant = choose_variant(available, variant, holder=f"{folder} holds its weights")
    return find_weight_files(folder, variant=variant)


def _with_file(parts: ModelParts, folders: Collection[str]) -> ModelParts:
    """A single file: one network in any layout that we know, a transformer and its ControlNet, or all of LTX-2."""
    path = parts.path
    headers = networks_of(as_ours(read_header([path])))
    found = [(kind, header) for header in headers for kind in kinds_of_names(header.tensors)]
    wanted = [(kind, header) for kind, header in found if kind.folder in folders]
    if not wanted and (stranger := _stranger(headers)) is not None:
        raise CheckpointError(f"{path} is neither a {nouns(' nor a ')}: {looks_like(stranger.tensors)}")
    networks = {
        kind.component: identify(kind, header, config=_config_of_file(path, header, kind), names=parts.names)
        for kind, header in wanted
    }
    card = card_from_metadata(headers[0].metadata, where=str(path))
    return replace(parts, networks=networks, card=card)


def _stranger(headers: Sequence[WeightHeader]) -> WeightHeader | None:
    """The first whose kind is not known."""
    return next((header for header in headers if not kinds_of_names(header.tensors)), None)


def _config_of_file(path: Path, header: WeightHeader, kind: NetworkKind[Any, Any]) -> dict[str, Any] | None:
    """The config inside a file, or beside one; None when the tensors must tell."""
    if CONFIG_KEY in header.metadata:
        config = parse_json(header.metadata[CONFIG_KEY], f"the config inside {path}")
        return from_lightricks(kind, config, header)
    beside = path.with_name("config.json")
    config = read_json(beside) if beside.is_file() else {}
    return config if kind.is_called(config.get("_class_name")) else None


def _existing(folder: Path) -> Path | None:
    return folder if is_folder_there(folder) else None
