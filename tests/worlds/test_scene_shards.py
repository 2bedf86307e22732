"""The data set folder: readable shards, an honest index, runs that continue."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import ConfigError, OutputError
from sanakit.worlds.banks.bank import Bank
from sanakit.worlds.banks.bank_files import load_bank
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.scene_shards import ScenesConfig, build_scene_shards
from sanakit.worlds.scenes.description import scene_from_json


def read_shard(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shards_hold_pictures_prompts_and_truth(tmp_path: Path, toy_bank: Bank) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int, what: str) -> None:
        seen.append((done, total))

    build_scene_shards(tmp_path / "d", toy_bank, ScenesConfig(num_samples=7, shard_size=3, seed=2), on_progress=note)
    assert seen == [(3, 7), (6, 7), (7, 7)]
    index = json.loads((tmp_path / "d" / "wids-meta.json").read_text())
    assert index["__kind__"] == "SANA-WebDataset"
    assert [shard["nsamples"] for shard in index["shardlist"]] == [3, 3, 1]
    keys = []
    for shard in index["shardlist"]:
        path = tmp_path / "d" / shard["url"]
        assert path.stat().st_size == shard["filesize"]
        files = read_shard(path)
        paraphrases = json.loads(path.with_name(f"{path.stem}_paraphrases.json").read_text())
        assert {name.split(".")[0] for name in files} == set(paraphrases)
        for key in paraphrases:
            facts = json.loads(files[f"{key}.json"])
            image = np.asarray(Image.open(io.BytesIO(files[facts["file_name"]])))
            assert image.shape == (facts["height"], facts["width"], 3) == (128, 128, 3)
            assert np.array_equal(image, compose(scene_from_json(facts["scene"]), toy_bank))
            assert facts["prompt"]
            assert len(paraphrases[key]) == 4
            keys.append(key)
    assert keys == [f"{number:08d}" for number in range(7)]
    assert (tmp_path / "d" / "ATTRIBUTION.md").read_bytes() == (toy_bank.folder / "ATTRIBUTION.md").read_bytes()
    assert Image.open(tmp_path / "d" / "contact-sheet.png").size[0] > 128


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path, toy_bank: Bank) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    config = ScenesConfig(num_samples=5, shard_size=2, size=64)
    with pytest.raises(KeyboardInterrupt):
        build_scene_shards(tmp_path / "a", toy_bank, config, on_progress=stop)
    assert not (tmp_path / "a" / "wids-meta.json").exists()
    first = (tmp_path / "a" / "00000.tar").stat().st_mtime_ns
    build_scene_shards(tmp_path / "a", toy_bank, config)
    build_scene_shards(tmp_path / "b", toy_bank, config)
    assert (tmp_path / "a" / "00000.tar").stat().st_mtime_ns == first
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not [name for name in contents(tmp_path / "a") if name.endswith(".part")]


def test_a_folder_is_not_continued_with_other_values(tmp_path: Path, toy_bank: Bank) -> None:
    build_scene_shards(tmp_path / "d", toy_bank, ScenesConfig(num_samples=2, size=32))
    with pytest.raises(ConfigError, match="num_samples=2"):
        build_scene_shards(tmp_path / "d", toy_bank, ScenesConfig(num_samples=3, size=32))
    with pytest.raises(ConfigError, match="bank"):
        build_scene_shards(tmp_path / "d", load_bank("tiny"), ScenesConfig(num_samples=2, size=32))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, toy_bank: Bank) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other files"):
        build_scene_shards(tmp_path, toy_bank, ScenesConfig(num_samples=2))
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("field", ["num_samples", "size", "shard_size"])
def test_values_that_make_no_data_set_are_refused(tmp_path: Path, field: str, toy_bank: Bank) -> None:
    with pytest.raises(ConfigError, match=f"{field}=0"):
        build_scene_shards(tmp_path / "d", toy_bank, ScenesConfig(**{"num_samples": 2, field: 0}))
    assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, toy_bank: Bank) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        build_scene_shards(tmp_path / "file" / "d", toy_bank, ScenesConfig(num_samples=2))
