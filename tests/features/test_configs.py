"""What a recipe may leave out, and the first values that are too small."""

from __future__ import annotations

from typing import Any

import pytest

from sanakit.common.errors import ConfigError
from sanakit.data.caption_choice import PowerLawChoice
from sanakit.features.configs import DreamBoothData, FilePictures, FilesData, ScenePictures, ScenesData

THING = {"instance": "cup", "prompt": "a sks cup", "class_prompt": "a cup"}


def test_what_is_left_out_is_as_documented() -> None:
    files = FilesData(path="photos")
    assert (files.drop_below, files.min_size, files.leave_out, files.also) == (None, 1, (), ())
    assert (files.cache, files.cache_folder, files.caption_choice) == (True, None, PowerLawChoice())
    scenes = ScenesData()
    assert (scenes.bank, scenes.names, scenes.num_captions, scenes.num_copies) == ("full", None, 24_576, 3)
    assert (scenes.seed, scenes.cache_folder) == (7, None)
    pictures, composed = FilePictures(path="photos"), ScenePictures()
    assert (pictures.min_size, pictures.leave_out, pictures.also) == (1, (), ())
    assert (composed.bank, composed.names, composed.seed) == ("full", None, 0)
    assert [each.type for each in (files, scenes, pictures, composed)] == ["files", "scenes", "files", "scenes"]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (FilesData, {"path": ""}, "data.path is empty"),
        (FilesData, {"path": "photos", "min_size": 0}, "min_size=0 must be at least 1 px"),
        (FilePictures, {"path": ""}, "data.path is empty"),
        (FilePictures, {"path": "photos", "min_size": 0}, "min_size=0 must be at least 1 px"),
        (ScenesData, {"num_captions": 0}, "num_captions=0"),
        (ScenesData, {"num_copies": 0}, "num_copies=0"),
        (ScenesData, {"seed": -1}, "seed=-1 must be 0 or more"),
        (FilesData, {"path": "photos", "prompt": " "}, "data.prompt is empty"),
        (DreamBoothData, THING | {"instance": ""}, "data.instance is empty"),
        (DreamBoothData, THING | {"class_prompt": ""}, "data.class_prompt is empty"),
        (DreamBoothData, THING | {"num_class_pictures": 0}, "num_class_pictures=0"),
        (DreamBoothData, THING | {"class_seed": -1}, "class_seed=-1"),
        (DreamBoothData, THING | {"prior_share": 1.0}, "prior_share=1.0 must lie between 0 and 1"),
        (ScenePictures, {"seed": -1}, "seed=-1 must be 0 or more"),
    ],
)
def test_values_that_are_too_small_are_refused(kind: type, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**wrong)


def test_the_least_values_are_fine() -> None:
    assert ScenesData(num_captions=1, num_copies=1, seed=0).num_captions == 1
    assert ScenePictures(seed=0).seed == 0
    assert FilesData(path="p", min_size=1).min_size == FilePictures(path="p", min_size=1).min_size == 1
