"""A thing and its class in turn: made once, a pure function of the number, captions where there are none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sanakit.common.errors import ConfigError, RequestError
from sanakit.common.pixels import Picture
from sanakit.features.configs import DreamBoothData, FilesData
from sanakit.features.encoders import Encoders
from sanakit.features.lessons.dreambooth import InTurn, class_pictures
from sanakit.features.open import latent_data
from sanakit.features.work import Demand, Painter, Work

from ..conftest import save_photo

DEMAND = Demand(resolutions=(64,), batch_size=4, seed=0)


class Drawn:
    """A painter of noise that counts."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        assert set(prompts) == {"a cup"}
        self.seeds += seeds
        return [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8) for seed in seeds]


@pytest.fixture
def drawn() -> Drawn:
    return Drawn()


@pytest.fixture
def work(encoders: Encoders, drawn: Drawn) -> Work:
    return Work(encoders=encoders, painter=Painter(identity="one", open=lambda: drawn))


@pytest.fixture
def config(tmp_path: Path) -> DreamBoothData:
    folder = tmp_path / "cup"
    folder.mkdir()
    for number in range(5):
        save_photo(folder / f"{number}.png", 64, 64, seed=number)
    (folder / "3.txt").write_text("a sks cup on a table")
    return DreamBoothData(
        instance=str(folder), prompt="a sks cup", class_prompt="a cup", num_class_pictures=10, class_seed=7
    )


def opened(config: DreamBoothData, work: Work, demand: Demand = DEMAND) -> InTurn:
    data = latent_data(config, demand, work)
    assert isinstance(data, InTurn)
    return data


@pytest.mark.parametrize("share", [0.25, 0.5, 0.7])
def test_thing_and_class_in_turn(config: DreamBoothData, work: Work, share: float) -> None:
    data = opened(replace(config, prior_share=share), work)
    total = 40
    samples = [data.describe(number) for number in range(total)]
    is_class = [{sample.caption for sample in micro} == {"a cup"} for micro in samples]
    for number in range(total + 1):
        assert abs(sum(is_class[:number]) - share * number) < 1
    epoch = [sample for micro in samples[: data.num_batches] for sample in micro]
    thing = {sample.key: sample.caption for sample in epoch if sample.caption != "a cup"}
    assert thing == {str(key): "a sks cup on a table" if key == 3 else "a sks cup" for key in range(5)}
    for number in (13, 2, 3):
        batch = data.batch(number)
        assert batch.latent.shape == (data.num_samples(number), 4, 4, 4)
        assert torch.equal(batch.latent, data.batch(number).latent)
    sizes = [[len(m) for m, c in zip(samples, is_class, strict=True) if c is kind] for kind in (True, False)]
    assert max(sizes[0]) <= max(sizes[1])  # the class does not outweigh a few pictures


def test_pictures_of_the_class_are_made_once(config: DreamBoothData, work: Work, drawn: Drawn) -> None:
    first = opened(config, work).batch(1).latent
    assert drawn.seeds == list(range(7, 17))
    assert torch.equal(opened(config, work).batch(1).latent, first)
    assert len(drawn.seeds) == 10
    folder = class_pictures(config, work)
    (folder / "00004.png").write_bytes(b"no picture")  # damaged: made again, and the same
    assert torch.equal(opened(config, work).batch(1).latent, first)
    assert len(drawn.seeds) == 20
    places = {folder, class_pictures(replace(config, class_seed=8), work)}
    assert work.painter is not None
    places.add(class_pictures(config, replace(work, painter=replace(work.painter, identity="other"))))
    places.add(class_pictures(replace(config, num_class_pictures=3), work))
    assert len(places) == 4


def test_prompts_of_a_file_take_turns(config: DreamBoothData, encoders: Encoders, tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        asked.extend(zip(prompts, seeds, strict=True))
        return [np.full((64, 64, 3), seed, np.uint8) for seed in seeds]

    (tmp_path / "prompts.txt").write_text("# scenes\na cup\n\n two dogs\r\na car at night\n")
    several = replace(config, class_prompt=None, class_prompts=str(tmp_path / "prompts.txt"), num_class_pictures=4)
    work = Work(encoders=encoders, painter=Painter(identity="one", open=lambda: draw))
    data = opened(several, work)
    assert asked == [("a cup", 7), ("two dogs", 8), ("a car at night", 9), ("a cup", 10)]
    captions = {sample.key: sample.caption for number in (1, 3) for sample in data.describe(number)}
    assert captions == {"00000": "a cup", "00001": "two dogs", "00002": "a car at night", "00003": "a cup"}
    assert class_pictures(several, work) != class_pictures(config, replace(work, painter=_noise()))
    (tmp_path / "prompts.txt").write_text("\n")
    with pytest.raises(RequestError, match="holds no prompt"):
        opened(several, work)
    with pytest.raises(RequestError, match="cannot be read"):
        opened(replace(several, class_prompts=str(tmp_path / "none.txt")), work)
    for wrong in ({"class_prompt": "a cup"}, {"class_prompts": None}):
        with pytest.raises(ConfigError, match="class_prompts"):
            replace(several, **wrong)  # type: ignore[arg-type]


def _noise() -> Painter:
    return Painter(identity="one", open=Drawn)


def test_other_pictures_are_told(config: DreamBoothData, work: Work) -> None:
    told: list[dict[str, str]] = []
    for changed in (config, config, replace(config, prompt="a xyz cup"), replace(config, class_seed=1)):
        opened(changed, work, replace(DEMAND, on_identity=told.append))
    assert told[0] == told[1]
    assert {name for name in told[0] if told[0][name] != told[2][name]} == {"captions"}
    assert {name for name in told[0] if told[0][name] != told[3][name]} == {"pictures of the class"}


def test_what_cannot_be_is_told_before_anything_is_drawn(
    config: DreamBoothData, work: Work, drawn: Drawn, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="is not there"):
        opened(replace(config, instance=str(tmp_path / "nowhere")), work)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="is empty"):
        opened(replace(config, instance=str(tmp_path / "empty")), work)
    with pytest.raises(RequestError, match="init:"):
        opened(config, replace(work, painter=None))

    def refuse(_: object) -> None:
        raise ConfigError("other data")

    with pytest.raises(ConfigError, match="other data"):
        opened(config, work, replace(DEMAND, on_identity=refuse))
    assert drawn.seeds == list(range(7, 17))  # of the last alone, which must see them


def test_a_caption_that_cannot_be_read_is_not_replaced(
    config: DreamBoothData, encoders: Encoders, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(config.instance) / "1.txt").write_bytes(b"\xff\xfe\xfa")
    files = FilesData(path=config.instance, prompt=config.prompt)
    with caplog.at_level(logging.WARNING):
        data = latent_data(files, DEMAND, Work(encoders=encoders))
    assert sum(data.num_samples(number) for number in range(data.num_batches or 0)) == 4
    assert "1.txt" in caplog.text
