"""The data set folder: readable shards, an honest index, runs that continue; and where the drawings come from."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sanakit.common.errors import ConfigError, OutputError
from sanakit.worlds.building.packages import FLUENT_FLAT
from sanakit.worlds.scenes.build import ScenesConfig, build_starter_data
from sanakit.worlds.scenes.render import render
from sanakit.worlds.scenes.scene import scene_from_json
from sanakit.worlds.scenes.sprites import build_sprite_bank, load_sprite_bank
from sanakit.worlds.scenes.vocabulary import ITEMS


def read_shard(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_shards_hold_pictures_prompts_and_truth(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int, what: str) -> None:
        seen.append((done, total))

    build_starter_data(tmp_path / "d", ScenesConfig(num_samples=7, shard_size=3, seed=2), on_progress=note)
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
            assert np.array_equal(image, render(scene_from_json(facts["scene"]), load_sprite_bank()))
            assert facts["prompt"]
            assert len(paraphrases[key]) == 4
            keys.append(key)
    assert keys == [f"{number:08d}" for number in range(7)]
    assert "Microsoft" in (tmp_path / "d" / "NOTICE.md").read_text()
    assert Image.open(tmp_path / "d" / "contact-sheet.png").size[0] > 128


def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    config = ScenesConfig(num_samples=5, shard_size=2, size=64)
    with pytest.raises(KeyboardInterrupt):
        build_starter_data(tmp_path / "a", config, on_progress=stop)
    assert not (tmp_path / "a" / "wids-meta.json").exists()
    first = (tmp_path / "a" / "00000.tar").stat().st_mtime_ns
    build_starter_data(tmp_path / "a", config)
    build_starter_data(tmp_path / "b", config)
    assert (tmp_path / "a" / "00000.tar").stat().st_mtime_ns == first
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert not [name for name in contents(tmp_path / "a") if name.endswith(".part")]


def test_a_folder_is_not_continued_with_other_values(tmp_path: Path) -> None:
    build_starter_data(tmp_path / "d", ScenesConfig(num_samples=2, size=32))
    with pytest.raises(ConfigError, match="num_samples=2"):
        build_starter_data(tmp_path / "d", ScenesConfig(num_samples=3, size=32))


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other files"):
        build_starter_data(tmp_path, ScenesConfig(num_samples=2))
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.parametrize("field", ["num_samples", "size", "shard_size"])
def test_values_that_make_no_data_set_are_refused(tmp_path: Path, field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field}=0"):
        build_starter_data(tmp_path / "d", ScenesConfig(**{"num_samples": 2, field: 0}))
    assert not (tmp_path / "d").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not be written"):
        build_starter_data(tmp_path / "file" / "d", ScenesConfig(num_samples=2))


def test_the_notice_counts_the_drawings_it_names() -> None:
    notice = (Path(__file__).parents[3] / "src/sanakit/starter/NOTICE.md").read_text()
    used = sum(item.icon is not None for item in ITEMS.values())
    assert (
        f"`{FLUENT_FLAT.name}` | {FLUENT_FLAT.version} | {FLUENT_FLAT.licence} | Copyright (c) {FLUENT_FLAT.author}"
        in notice
    )
    assert f"{used} flat emoji drawings" in notice


@pytest.mark.network
def test_the_shipped_bank_can_be_built_from_the_package(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    built, shipped = build_sprite_bank(tmp_path), load_sprite_bank()
    for name in ITEMS:
        difference = np.abs(built.sprite(name).astype(int) - shipped.sprite(name))
        visible = (built.sprite(name)[..., 3] > 0) | (shipped.sprite(name)[..., 3] > 0)
        assert difference[visible].mean() < 1.0, name
