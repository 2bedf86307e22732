"""What a curation does, in full: the contents of ``recipes/curation.yaml``."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sanakit.common.config import to_mapping
from sanakit.common.errors import ConfigError

_PLAIN_NAME = re.compile(r"[\w.+-]+", re.ASCII)  # it becomes part of file names: 00000_NAME.json


@dataclass(frozen=True, kw_only=True, slots=True)
class NearDuplicates:
    """Pictures that look like another one with a smaller key are dropped (curation/near_duplicates.py)."""

    distance: int = 4  # differing bits of two perceptual hashes at which they still count as the same picture
    hash_size: int = 8  # the hash has this squared bits; 16 tells more pictures apart and searches large sets faster

    def __post_init__(self) -> None:
        if not 2 <= self.hash_size <= 32:
            raise ConfigError(f"hash_size={self.hash_size} makes no perceptual hash; it must be from 2 to 32")
        if not 0 <= self.distance < self.hash_size**2 // 2:
            raise ConfigError(
                f"distance={self.distance} does not tell pictures apart: of {self.hash_size**2} bits about half differ "
                f"by chance, so it must be from 0 to {self.hash_size**2 // 2 - 1}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """Which pictures stay. Undecodable ones never do."""

    smallest_side: int = 1  # pixels of the shorter side, upright
    aspect_ratio: tuple[float, float] | None = (0.2, 5.0)  # smallest and largest width / height
    duplicates: NearDuplicates | None = field(default_factory=NearDuplicates)

    def __post_init__(self) -> None:
        if self.smallest_side < 1:
            raise ConfigError(f"smallest_side={self.smallest_side} must be at least 1 pixel")
        if self.aspect_ratio is not None and not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ConfigError(f"aspect_ratio={list(self.aspect_ratio)} is no [smallest, largest] width / height")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingCaptions:
    """Keeps the captions that the samples have; invents nothing."""

    type: Literal["existing"] = "existing"
    sources: tuple[str, ...] | None = None  # only of these sources; None keeps all


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformersCaptions:
    """Captions by a vision-language model of the transformers library (``AutoModelForImageTextToText``)."""

    type: Literal["transformers"] = "transformers"
    source: str  # the name under which the captions are kept, such as SmolVLM
    model: str  # a folder, or an id of the Hugging Face hub
    revision: str | None = None  # of a hub id: the shell finds its commit, which is kept in what is written
    prompt: str = "Describe this picture in one or two sentences."
    max_new_tokens: int = 120
    batch_size: int = 8
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    trust_remote_code: bool = False  # run code that came with the model; from a recipe's file it is not taken

    def __post_init__(self) -> None:
        _check_captioner(self.source, self.batch_size)
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens={self.max_new_tokens} leaves no room for a caption")


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginCaptions:
    """Captions by a class of yours: ``target(**arguments)`` makes a Captioner (curation/captioners.py)."""

    type: Literal["plugin"] = "plugin"
    source: str
    target: str  # package.module:Class
    arguments: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 8

    def __post_init__(self) -> None:
        _check_captioner(self.source, self.batch_size)
        module, colon, name = self.target.partition(":")
        if not (module and colon and name):
            raise ConfigError(f"target={self.target!r} must be of the form package.module:Class")
        if not isinstance(self.arguments, dict):
            raise ConfigError(f"arguments={self.arguments!r} must be a mapping of the class's arguments")
        try:
            json.dumps(self.arguments)
        except TypeError as error:
            raise ConfigError(f"arguments of {self.target} must be plain values ({error})") from error


CaptionerConfig = ExistingCaptions | TransformersCaptions | PluginCaptions


@dataclass(frozen=True, kw_only=True, slots=True)
class ScorerConfig:
    """How well every caption fits its picture, by an image-text scorer."""

    model: str = "starter"  # "starter", or a CLIP / SigLIP folder or hub id
    device: str = "cpu"
    min_score: float | None = None  # a sample whose best caption scores less is dropped

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("model is empty; name a scorer such as 'starter', or leave the scorer out")


@dataclass(frozen=True, kw_only=True, slots=True)
class RayConfig:
    """Where the work runs with ``--ray``; it changes nothing in the result."""

    address: str | None = None  # of a running cluster, "auto" for this machine's; None starts Ray here for the run
    num_cpus: int | None = None  # of a Ray started here; None takes all cores
    object_store_megabytes: int = 256  # of a Ray started here
    captioner_workers: int = 1  # processes per captioner, each with its own copy of the model
    captioner_cpus: float = 1.0  # cores reserved for each
    captioner_gpus: float = 0.0  # devices reserved for each

    def __post_init__(self) -> None:
        for name in ("num_cpus", "captioner_workers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}={value} must be at least 1")
        if self.object_store_megabytes < 80:
            raise ConfigError(f"object_store_megabytes={self.object_store_megabytes}; Ray needs at least 80")
        if self.captioner_cpus < 0 or self.captioner_gpus < 0:
            raise ConfigError("captioner_cpus and captioner_gpus must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class CurationConfig:
    """The recipe of a curation. Its hash goes into every row of the lineage."""

    intent: str = ""  # what for, in words; has no effect
    filters: FilterConfig = field(default_factory=FilterConfig)
    captioners: tuple[CaptionerConfig, ...] = (ExistingCaptions(),)
    scorer: ScorerConfig | None = None
    shard_size: int = 1000  # samples in a tar
    also: tuple[str, ...] = ()  # folders outside of the data set that its rows and links may lead to
    ray: RayConfig = field(default_factory=RayConfig)

    def __post_init__(self) -> None:
        if self.shard_size < 1:
            raise ConfigError(f"shard_size={self.shard_size} must be at least 1")
        if not self.captioners:
            raise ConfigError("captioners is empty; {type: existing} keeps the captions that are there")
        names = [captioner_name(captioner) for captioner in self.captioners]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two captioners are called {name!r}; give each its own source")

    @property
    def recipe_hash(self) -> str:
        """SHA-256 of everything that can change the result (all but ``ray`` and ``intent``), in hexadecimal."""
        return hashlib.sha256(json.dumps(plain_settings(self), sort_keys=True).encode()).hexdigest()


def plain_settings(config: CurationConfig) -> dict[str, Any]:
    """Everything that can change the result (all but ``ray`` and ``intent``), as plain values for JSON."""
    settings: dict[str, Any] = to_mapping(config)
    del settings["ray"], settings["intent"]
    if not config.also:
        del settings["also"]  # so that a recipe has the hash that it had before there was one
    for captioner in settings["captioners"]:
        captioner.pop("trust_remote_code", None)  # without it a recipe has the hash that it always had
        if captioner.get("revision") is None:
            captioner.pop("revision", None)  # and so it has without this
    return settings


def trusting(config: CurationConfig, model: str | None) -> CurationConfig:
    """The recipe in which code of this one model may be run, and of no other: a recipe cannot ask for that itself.

    Raises:
        ConfigError: it asks for it, or neither a captioner nor the scorer is that model.
    """
    captioners = [each for each in config.captioners if isinstance(each, TransformersCaptions)]
    scorers = {config.scorer.model} if config.scorer is not None else set()
    if model is None and not any(each.trust_remote_code for each in captioners):
        return config
    if model is not None and model not in {*scorers, *(each.model for each in captioners)}:
        raise ConfigError(f"--trust-remote-code {model} is the model of no captioner or scorer in the recipe")
    if asking := next((each for each in captioners if each.trust_remote_code and each.model != model), None):
        raise ConfigError(f"the recipe asks to run code of {asking.model}; say --trust-remote-code {asking.model} too")
    trusted = [
        replace(each, trust_remote_code=True)
        if isinstance(each, TransformersCaptions) and each.model == model
        else each
        for each in config.captioners
    ]
    return replace(config, captioners=tuple(trusted))


def pinned(
    config: CurationConfig, begun: Mapping[str, Any], commit_of: Callable[[str, str | None], str | None]
) -> CurationConfig:
    """The recipe with the commit of every captioner of the hub, whose files are then those of no other day.

    Args:
        begun: the settings that the curation was begun with, if it was: it goes on with the same commits.
        commit_of: fetches and checks a model at a revision (None: the newest) and gives its commit; None of a folder.
    """
    listed = begun.get("captioners")
    found = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    before = {str(each.get("source")): each for each in found}
    captioners: list[CaptionerConfig] = []
    for each in config.captioners:
        if isinstance(each, TransformersCaptions):
            same = before.get(each.source, {}).get("model") == each.model
            kept = before[each.source].get("revision") if same else None
            wanted = each.revision or (kept if isinstance(kept, str) else None)
            commit = commit_of(each.model, wanted)
            captioners.append(each if same and wanted is None else replace(each, revision=commit))
        else:
            captioners.append(each)
    return replace(config, captioners=tuple(captioners))


def captioner_name(config: CaptionerConfig) -> str:
    """The source of its captions; ``existing`` for those that were there."""
    return "existing" if isinstance(config, ExistingCaptions) else config.source


def _check_captioner(source: str, batch_size: int) -> None:
    if not _PLAIN_NAME.fullmatch(source) or source == "existing":
        raise ConfigError(f"source={source!r} must be a name of letters, digits and . + - _, and not 'existing'")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size} must be at least 1")
