"""Pictures of a thing, scenes of a bank that it takes part in, and scenes without it, as one stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sanakit.common.errors import ConfigError, RequestError
from sanakit.data.open import open_data
from sanakit.features.configs import ThingData
from sanakit.features.encoders import Encoders
from sanakit.features.lessons.in_turn import InTurn
from sanakit.features.lessons.thing import TaughtScenes, thing_of
from sanakit.features.open import controlled_data, latent_data
from sanakit.features.scenes import open_bank
from sanakit.features.work import Demand, Work
from sanakit.worlds.drawing.compose import compose
from sanakit.worlds.world_scenes import WorldScenes

from ..conftest import save_photo

DEMAND = Demand(resolutions=(64,), batch_size=4, seed=0)
TEAL = (0, 128, 128)  # of nothing in the toy bank


@pytest.fixture
def config(tmp_path: Path, bank: str) -> ThingData:
    """Two pictures that the thing can be cut out of, by alpha and by ground, and one that it cannot."""
    folder = tmp_path / "thing"
    folder.mkdir()
    drawn = Image.new("RGBA", (80, 80), (255, 0, 0, 0))
    drawn.paste((*TEAL, 255), (20, 10, 60, 60))
    drawn.save(folder / "alpha.png")
    plain = Image.new("RGB", (80, 80), (250, 220, 90))
    plain.paste(TEAL, (30, 20, 54, 50))
    plain.save(folder / "plain.png")
    (folder / "plain.txt").write_text("a zorbl on a yellow background")
    save_photo(folder / "photo.png", 64, 64, seed=1)
    cache = str(tmp_path / "cache")
    return ThingData(path=str(folder), word="zorbl", bank=bank, num_captions=12, num_copies=1, cache_folder=cache)


def opened(config: ThingData, encoders: Encoders, demand: Demand = DEMAND) -> InTurn:
    data = latent_data(config, demand, Work(encoders=encoders))
    assert isinstance(data, InTurn)
    return data


def test_the_thing_is_in_every_scene_that_says_so(config: ThingData, caplog: pytest.LogCaptureFixture) -> None:
    thing, pictures = thing_of(open_data(config.path, caption="zorbl"), config, 64)
    assert [view.size for view in thing.looks[0].views] == [(40, 50), (24, 30)]
    assert "photo" in caplog.text
    bank = open_bank(config.bank, None)
    joined = bank.joined_by(thing, pictures)
    assert joined.hash not in (bank.hash, bank.joined_by(replace(thing, name="blorp"), pictures).hash)
    assert joined.subset(["zorbl", "dog"]).hash != bank.subset(["dog"]).hash
    scenes, kinds = TaughtScenes(joined, WorldScenes(bank, "train", 3), thing, 3), set()
    for index in range(40):
        scene, caption = scenes.truth(index)
        assert (scene, caption) == scenes.truth(index)
        assert "zorbl" in caption.lower()
        kinds.add((scene.kind, caption.lower().count("zorbls") > 0))
        near = np.abs(compose(scene, joined, 64).astype(int) - TEAL).max(axis=-1) < 8
        boxes = [each.box for each in scene.objects if each.name == "zorbl"]
        assert len(boxes) == (scene.count if scene.kind == "count" else 1)
        assert near.mean() > 0.4 * sum((r - b) * (s - t) for b, t, r, s in boxes)
    assert {("single", False), ("pair", False), ("count", True), ("count", False)} <= kinds


def test_scenes_pictures_and_all_else_in_turn(config: ThingData, encoders: Encoders) -> None:
    data = opened(replace(config, picture_share=0.25), encoders)
    total = data.num_batches
    named = [data.describe(number) for number in range(total)]
    assert {number % 8 for number in range(total) if named[number]} == {6}  # a quarter of every second one
    assert {sample.key: sample.caption for sample in named[6]} == {
        "alpha": "a zorbl", "plain": "a zorbl on a yellow background", "photo": "a zorbl",
    }  # fmt: skip
    again = opened(replace(config, picture_share=0.25), encoders)
    for number in (6, 0, 1):
        assert torch.equal(again.batch(number).latent, data.batch(number).latent)
    alone = opened(replace(config, picture_share=0, prior_share=0), encoders)
    assert sum(alone.num_samples(number) for number in range(alone.num_batches)) == 12
    clogs = opened(replace(config, word="zorbls", picture_share=0.9, num_captions=1, prior_share=0), encoders)
    assert "zorbls" in {sample.caption for number in range(9) for sample in clogs.describe(number)}


def test_another_thing_is_other_data(config: ThingData, encoders: Encoders) -> None:
    told: list[dict[str, str]] = []
    for changed in (config, config, replace(config, word="blorp")):
        opened(changed, encoders, replace(DEMAND, on_identity=told.append))
    assert told[0] == told[1]
    assert told[0]["scenes"] != told[2]["scenes"]
    Image.new("RGB", (80, 80), TEAL).save(Path(config.path) / "alpha.png")
    opened(config, encoders, replace(DEMAND, on_identity=told.append))
    assert told[0]["scenes"] != told[3]["scenes"]


def test_damaged_pictures_are_left_out(config: ThingData, encoders: Encoders, caplog: pytest.LogCaptureFixture) -> None:
    alpha = Path(config.path) / "alpha.png"
    alpha.write_bytes(alpha.read_bytes()[:-60])
    data = opened(replace(config, picture_share=0.25), encoders)
    assert {sample.key for number in range(data.num_batches) for sample in data.describe(number)} == {"plain", "photo"}
    assert "alpha" in caplog.text


def test_what_cannot_be(config: ThingData, encoders: Encoders) -> None:
    with pytest.raises(RequestError, match="already"):
        opened(replace(config, word="Dogs"), encoders)
    with pytest.raises(RequestError, match="ControlNet"):
        controlled_data(config, "edges", DEMAND, Work(encoders=encoders))
    for name in ("alpha.png", "plain.png"):
        (Path(config.path) / name).unlink()
    with pytest.raises(RequestError, match="cannot be cut out"):
        opened(config, encoders)
    for wrong in (
        {"word": " "},
        {"word": "zorbl "},
        {"word": "\ud800"},
        {"prior_share": 1},
        {"picture_share": -0.1},
        {"num_copies": 0},
        {"path": ""},
    ):
        with pytest.raises(ConfigError):
            replace(config, **wrong)  # type: ignore[arg-type]
