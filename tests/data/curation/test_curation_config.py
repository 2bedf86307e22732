"""Recipes of a curation: what is set where nothing is said, the least that works, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sanakit.common.errors import ConfigError
from sanakit.data.curation.config import (
    CurationConfig,
    ExistingCaptions,
    FilterConfig,
    PluginCaptions,
    RayConfig,
    ScorerConfig,
    TransformersCaptions,
    pinned,
    plain_settings,
)

PLUGIN = {"source": "a", "target": "p:C"}
MODEL = {"source": "a", "model": "m"}


def test_what_is_set_where_nothing_is_said() -> None:
    assert (FilterConfig().smallest_side, FilterConfig().aspect_ratio) == (1, (0.2, 5.0))
    model = TransformersCaptions(source="a", model="m")
    assert (model.max_new_tokens, model.batch_size, model.device, model.dtype, model.trust_remote_code) == (
        120, 8, "cpu", "float32", False,
    )  # fmt: skip
    assert PluginCaptions(source="a", target="p:C").batch_size == 8
    assert ScorerConfig() == ScorerConfig(model="starter", device="cpu", min_score=None)
    assert RayConfig() == RayConfig(
        address=None, num_cpus=None, object_store_megabytes=256, captioner_workers=1, captioner_cpus=1.0,
        captioner_gpus=0.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "good"),
    [
        (FilterConfig, {"smallest_side": 1, "aspect_ratio": (1.0, 1.0)}),
        (FilterConfig, {"aspect_ratio": None}),
        (TransformersCaptions, {**MODEL, "max_new_tokens": 1, "batch_size": 1}),
        (RayConfig, {"num_cpus": 1, "captioner_workers": 1, "object_store_megabytes": 80, "captioner_cpus": 0.0}),
    ],
)
def test_the_least_that_works(make: Callable[..., Any], good: dict[str, Any]) -> None:
    make(**good)


@pytest.mark.parametrize(
    ("make", "wrong", "message"),
    [
        (FilterConfig, {"smallest_side": 0}, "smallest_side=0 must be at least 1 pixel"),
        (FilterConfig, {"aspect_ratio": (0.0, 1.0)}, "is no .smallest, largest"),
        (FilterConfig, {"aspect_ratio": (2.0, 1.0)}, "is no .smallest, largest"),
        (TransformersCaptions, {**MODEL, "max_new_tokens": 0}, "leaves no room"),
        (TransformersCaptions, {**MODEL, "batch_size": 0}, "batch_size"),
        (PluginCaptions, {**PLUGIN, "target": "p"}, "package.module:Class"),
        (PluginCaptions, {**PLUGIN, "target": ":C"}, "package.module:Class"),
        (PluginCaptions, {**PLUGIN, "target": "p:"}, "package.module:Class"),
        (PluginCaptions, {**PLUGIN, "arguments": [1]}, "must be a mapping"),
        (PluginCaptions, {**PLUGIN, "arguments": {"a": object()}}, "arguments of p:C must be plain values"),
        (ScorerConfig, {"model": ""}, "model is empty"),
        (RayConfig, {"num_cpus": 0}, "num_cpus=0 must be at least 1"),
        (RayConfig, {"captioner_workers": 0}, "captioner_workers=0 must be at least 1"),
        (RayConfig, {"object_store_megabytes": 79}, "Ray needs at least 80"),
        (RayConfig, {"captioner_cpus": -0.5}, "must not be negative"),
        (RayConfig, {"captioner_gpus": -0.5}, "must not be negative"),
    ],
)
def test_what_does_not(make: Callable[..., Any], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**wrong)


def test_captioners_of_the_hub_are_pinned_by_commit() -> None:
    """Also one that goes on, which takes the commit that it began with."""
    asked: list[tuple[str, str | None]] = []

    def commit_of(model: str, revision: str | None) -> str | None:
        asked.append((model, revision))
        return None if model == "folder" else revision or "c2"

    models = [TransformersCaptions(source=name, model=model) for name, model in (("a", "org/a"), ("b", "folder"))]
    recipe = CurationConfig(captioners=(*models, ExistingCaptions()))
    new = pinned(recipe, {}, commit_of)
    assert [getattr(each, "revision", 0) for each in new.captioners] == ["c2", None, 0]
    assert asked == [("org/a", None), ("folder", None)]
    assert plain_settings(new)["captioners"][0]["revision"] == "c2"
    assert new.recipe_hash != recipe.recipe_hash == replace(recipe, captioners=recipe.captioners).recipe_hash
    assert "revision" not in plain_settings(recipe)["captioners"][0]
    for begun, expected in (({"revision": "c1"}, "c1"), ({}, None)):  # by a version that pinned none
        began = {"captioners": [{"source": "a", "model": "org/a", **begun}]}
        assert pinned(recipe, began, commit_of).captioners[0].revision == expected  # type: ignore[union-attr]
    other = {"captioners": [{"source": "a", "model": "org/other", "revision": "c1"}]}
    assert pinned(recipe, other, commit_of).captioners[0].revision == "c2"  # type: ignore[union-attr]
    for damaged in (5, [5, {"source": ["a"]}], [{"source": "a", "model": "org/other", "revision": 5}]):
        assert pinned(recipe, {"captioners": damaged}, commit_of).captioners[0].revision == "c2"  # type: ignore[union-attr]
    named = replace(recipe, captioners=(replace(models[0], revision="v1"),))
    assert pinned(named, {}, commit_of).captioners[0].revision == "v1"  # type: ignore[union-attr]
