from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from sanakit.common.config import from_mapping
from sanakit.common.errors import ConfigError
from sanakit.data.curation.config import CurationConfig, PluginCaptions, RayConfig, ScorerConfig

RECIPE = Path(__file__).parents[3] / "recipes" / "curation.yaml"


def test_the_recipe_to_copy_is_one() -> None:
    config = from_mapping(CurationConfig, yaml.safe_load(RECIPE.read_text(encoding="utf-8")))
    assert config.filters.smallest_side == 256
    assert config.scorer is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filter": {}}, "did you mean 'filters'"),
        ({"filters": {"smallest_sides": 3}}, "did you mean 'smallest_side'"),
        ({"filters": {"aspect_ratio": [2, 1]}}, "aspect_ratio"),
        ({"filters": {"duplicates": {"distance": 32}}}, "distance=32"),
        ({"filters": {"duplicates": {"hash_size": 1}}}, "hash_size=1"),
        ({"captioners": []}, "captioners is empty"),
        ({"captioners": [{"type": "plugin", "source": "a/b", "target": "m:C"}]}, "source='a/b'"),
        ({"captioners": [{"type": "plugin", "source": "a", "target": "m.C"}]}, "package.module:Class"),
        ({"captioners": [{"type": "plugin", "source": "a", "target": "m:C", "arguments": [1]}]}, "arguments"),
        ({"captioners": [{"type": "transformers", "source": "a", "model": "m", "batch_size": 0}]}, "batch_size=0"),
        ({"captioners": [{"type": "existing"}, {"type": "existing"}]}, "two captioners are called 'existing'"),
        ({"scorer": {"model": ""}}, "model is empty"),
        ({"shard_size": 0}, "shard_size=0"),
        ({"ray": {"object_store_megabytes": 10}}, "at least 80"),
    ],
)
def test_what_cannot_work_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(CurationConfig, settings, where="recipe")


def test_the_recipe_hash_follows_the_result_and_not_the_place_of_work() -> None:
    config = CurationConfig()
    assert replace(config, ray=RayConfig(num_cpus=7)).recipe_hash == config.recipe_hash
    plugin = PluginCaptions(source="a", target="m:C", arguments={"x": 1})
    others = [
        replace(config, shard_size=7), replace(config, scorer=ScorerConfig()), replace(config, captioners=(plugin,)),
        replace(config, captioners=(replace(plugin, arguments={"x": 2}),)),
    ]  # fmt: skip
    assert len({item.recipe_hash for item in [config, *others]}) == 5
