"""What rollouts are made of: which pictures are chosen, which ranks agree, lists of prompts, an iteration's cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sanakit.common.errors import ConfigError
from sanakit.training.rollouts.feed import Layout
from sanakit.training.rollouts.prompts import ListedPrompts, Prompts, ScenePrompts
from sanakit.training.rollouts.selection import rank_agreement, select
from sanakit.training.rollouts.settings import ExploreConfig, RolloutConfig
from sanakit.worlds.scenes.description import scene_from_json

REWARDS = [0.5, 2.0, -1.0, 0.6, 2.0, 0.4]


@pytest.mark.parametrize(
    ("how", "keep", "chosen"),
    [
        ("best", 3, [1, 4, 3]), ("best_worst", 4, [1, 4, 5, 2]), ("best_worst", 3, [1, 5, 2]),
        ("best_worst", 9, [1, 4, 3, 0, 5, 2]), ("best_worst", 1, [2]), ("mean_deviation", 2, [2, 1]),
    ],
)  # fmt: skip
def test_the_best_and_the_worst(how: str, keep: int, chosen: list[int]) -> None:
    assert select(REWARDS, keep, how, seed=0) == chosen  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["random", "extremes_random"])
def test_by_chance_of_a_seed(how: str) -> None:
    found = [select(REWARDS, 4, how, seed=seed) for seed in (1, 1, 2)]  # type: ignore[arg-type]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 4
    if how == "extremes_random":
        assert found[0][:2] == [1, 2]
    assert sorted(select(REWARDS, 9, how, seed=1)) == list(range(6))  # type: ignore[arg-type]
    assert select([1.0], 3, how, seed=1) == [0]  # type: ignore[arg-type]


def test_ranks_agree() -> None:
    assert rank_agreement([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_agreement([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_agreement([1, 2, 2, 4], [1, 2, 2, 4]) == pytest.approx(1)
    assert rank_agreement([1, 1], [1, 2]) is None
    assert rank_agreement([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]) == pytest.approx(0.8)


def test_a_choice_by_a_proxy_has_the_true_ranks_that_theory_says() -> None:
    """Of 96 normal rewards, the 12 best and 12 worst by one that agrees with a correlation of 0.923 of ranks."""
    rng, best, worst = np.random.default_rng(0), [], []
    share = 2 * np.sin(np.pi / 6 * 0.923)  # of normal numbers, the correlation that has this of ranks
    for _ in range(400):
        true = rng.standard_normal(96)
        proxy = share * true + np.sqrt(1 - share**2) * rng.standard_normal(96)
        ranks = np.empty(96)
        ranks[np.argsort(-true)] = np.arange(1, 97)
        chosen = select(proxy.tolist(), 24, "best_worst", seed=0)
        best.append(ranks[chosen[:12]].mean())
        worst.append(ranks[chosen[12:]].mean())
    assert np.mean(best) == pytest.approx(8.9, abs=0.5)
    assert np.mean(worst) == pytest.approx(88.1, abs=0.5)


def test_lists_of_prompts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n two \nthree\n")
    (tmp_path / "b.jsonl").write_text('{"prompt": "a cup", "tag": "single", "include": [{"class": "cup"}]}\n')
    listed = Prompts(ListedPrompts(path=str(tmp_path / "a.txt"), held_out=str(tmp_path / "b.jsonl")), seed=3)
    assert sorted(listed[number].text for number in range(3)) == ["one", "three", "two"]
    assert sorted(listed[number].text for number in range(3, 6)) == ["one", "three", "two"]
    assert [listed[n].text for n in range(6)] == [listed[n].text for n in range(6)]
    held = Prompts(ListedPrompts(path=str(tmp_path / "a.txt"), held_out=str(tmp_path / "b.jsonl")), 3, "heldout")
    assert held.first(9)[0].known == {"tag": "single", "include": [{"class": "cup"}]}
    assert Prompts(ListedPrompts(path=str(tmp_path / "a.txt")), 3, "heldout").first(4) == []


def test_scenes_bring_what_is_asked_for() -> None:
    prompts = Prompts(ScenePrompts(bank="tiny", seed=5), seed=0)
    first = prompts[3]
    assert prompts[3] == first
    scene = scene_from_json(first.known["scene"])
    assert any(thing.name in first.text for thing in scene.objects) or scene.count > 1
    assert Prompts(ScenePrompts(bank="tiny", seed=5), 0, "heldout")[3] != first


def test_an_iteration_is_cut_into_micro_batches() -> None:
    layout = Layout(samples=10, batch_size=4, passes=3)
    assert layout.num_batches == 9
    assert layout.accumulation(3, 1) == 3
    assert layout.accumulation(1, 3) == 3
    with pytest.raises(ConfigError, match=r"9 micro-batches .* 2 updates on 1 process cannot share"):
        layout.accumulation(2, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RolloutConfig(prompts=0), "prompts=0"), (lambda: RolloutConfig(keep=99), "keep=99 must be from 1 to"),
        (lambda: ExploreConfig(candidates=0), "candidates=0"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(make, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
