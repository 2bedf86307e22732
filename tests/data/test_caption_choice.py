"""Captions by score: each rule against its formula, and the draws against the rule by a chi-square test."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanakit.common.config import from_mapping, to_mapping
from sanakit.common.errors import ConfigError
from sanakit.data.caption_choice import (
    CaptionChoice,
    ExponentialChoice,
    PowerLawChoice,
    ProportionChoice,
    best_score,
    caption_probabilities,
    choose_caption,
)
from sanakit.data.fates import never_drawn
from sanakit.data.inspection import inspect_data
from sanakit.data.open import open_data
from sanakit.data.samples import Caption

RULES: list[CaptionChoice] = [
    ExponentialChoice(temperature=2.0),
    PowerLawChoice(temperature=0.5, threshold=21.0),
    PowerLawChoice(temperature=0.1),
    ProportionChoice(proportions={"prompt": 1, "VILA": 2, "a": 0.5, "b": 0.25, "nobody": 9}),
]


def captions(*scores: float | None, sources: str = "") -> tuple[Caption, ...]:
    names = [*sources, *("prompt", "VILA", "a", "b", "c", "d")[: len(scores) - len(sources)]]
    return tuple(
        Caption(source=name, text=f"text of {name}", score=score) for name, score in zip(names, scores, strict=True)
    )


FIVE = captions(20.0, 24.0, 26.5, 21.5, None)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_draws_follow_the_rule(rule: CaptionChoice) -> None:
    """Chi-square at 1e-4: 23.5 for 4 degrees of freedom; a cell that nothing is expected in must stay empty."""
    num_draws = 20_000
    expected = caption_probabilities(FIVE, rule) * num_draws
    found = np.zeros(5)
    for draw in range(num_draws):
        found[choose_caption(FIVE, rule, seed=1, epoch=draw % 20, key=f"sample {draw // 20}")] += 1
    assert (found[expected == 0] == 0).all()
    possible = expected > 0
    assert possible.sum() >= 3
    assert ((found - expected)[possible] ** 2 / expected[possible]).sum() < 23.5


def test_the_paper_s_exponential() -> None:
    total = sum(math.exp(score / 2) for score in (20.0, 24.0, 26.5, 21.5))
    expected = [math.exp(score / 2) / total for score in (20.0, 24.0, 26.5, 21.5)] + [0.0]
    np.testing.assert_allclose(caption_probabilities(FIVE, ExponentialChoice(temperature=2.0)), expected, rtol=1e-12)


def test_the_power_law_of_upstream() -> None:
    weights = [0.0, 24.0**2, 26.5**2, 21.5**2, 0.0]
    rule = PowerLawChoice(temperature=0.5, threshold=21.0)
    np.testing.assert_allclose(caption_probabilities(FIVE, rule), np.array(weights) / sum(weights), rtol=1e-12)
    at_threshold = caption_probabilities(captions(25.0, 30.0), PowerLawChoice(threshold=25.0))
    np.testing.assert_allclose(at_threshold, [25 / 55, 30 / 55])


def test_temperature_zero_is_the_best_or_almost() -> None:
    assert caption_probabilities(FIVE, ExponentialChoice(temperature=0.0)).tolist() == [0, 0, 1, 0, 0]
    almost = caption_probabilities(FIVE, PowerLawChoice(temperature=0.0))  # upstream stops at 0.01
    np.testing.assert_allclose(almost[1] / almost[2], (24 / 26.5) ** 100, rtol=1e-9)
    assert caption_probabilities(captions(1e4, 2e4), PowerLawChoice(temperature=0.0)).tolist()[1] == pytest.approx(1)


def test_if_none_passes_the_best_is_taken() -> None:
    assert caption_probabilities(FIVE, PowerLawChoice(threshold=30.0)).tolist() == [0, 0, 1, 0, 0]


@pytest.mark.parametrize("rule", RULES[:3], ids=str)
def test_without_scores_it_is_the_prompt(rule: CaptionChoice) -> None:
    assert caption_probabilities(captions(None, None, None, sources="xy"), rule).tolist() == [0, 0, 1]
    assert caption_probabilities(captions(None, None, sources="xy"), rule).tolist() == [1, 0]


def test_scores_below_zero() -> None:
    assert caption_probabilities(captions(-1.0, 3.0), PowerLawChoice(threshold=-5.0)).tolist() == [0, 1]
    assert caption_probabilities(captions(-1.0, -2.0), PowerLawChoice(threshold=-5.0)).tolist() == [0.5, 0.5]
    assert caption_probabilities(captions(0.0, 0.0), PowerLawChoice()).tolist() == [0.5, 0.5]
    np.testing.assert_allclose(
        caption_probabilities(captions(-1.0, -2.0), ExponentialChoice()), [1 / (1 + 1 / math.e), 1 / (1 + math.e)]
    )


def test_proportions_of_the_sources_that_are_there() -> None:
    rule = ProportionChoice(proportions={"prompt": 1, "VILA": 3, "elsewhere": 100})
    assert caption_probabilities(captions(None, 7.0, 1.0), rule).tolist() == [0.25, 0.75, 0]
    assert caption_probabilities(captions(None, 7.0, sources="xy"), rule).tolist() == [1, 0]
    only_elsewhere = ProportionChoice(proportions={"elsewhere": 1})
    assert caption_probabilities(captions(1.0, 2.0, 3.0, sources="xy"), only_elsewhere).tolist() == [0, 0, 1]


@given(st.integers(0, 2**63), st.integers(0, 10**6), st.text())
def test_a_draw_follows_from_seed_epoch_and_key(seed: int, epoch: int, key: str) -> None:
    rule = ExponentialChoice(temperature=5.0)
    first, again = (choose_caption(FIVE, rule, seed=seed, epoch=epoch, key=key) for _ in range(2))
    assert first == again
    assert caption_probabilities(FIVE, rule)[first] > 0


def test_seeds_epochs_and_keys_draw_independently() -> None:
    rule = ExponentialChoice(temperature=100.0)

    def chosen(seed: int, epoch: int, key: int) -> int:
        return choose_caption(FIVE, rule, seed=seed, epoch=epoch, key=str(key))

    assert {chosen(i, 0, 0) for i in range(60)} == {0, 1, 2, 3}
    assert {chosen(0, i, 0) for i in range(60)} == {0, 1, 2, 3}
    assert {chosen(0, 0, i) for i in range(60)} == {0, 1, 2, 3}


def test_best_score() -> None:
    assert best_score(FIVE) == 26.5
    assert best_score(captions(None, None)) is None


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_configs_are_plain_values(rule: CaptionChoice) -> None:
    assert from_mapping(type(rule), to_mapping(rule)) == rule


@pytest.mark.parametrize(
    ("cls", "settings", "message"),
    [
        (ExponentialChoice, {"temperature": -1}, "temperature=-1.0 must be 0 or more"),
        (PowerLawChoice, {"temperature": float("nan")}, "must be 0 or more"),
        (PowerLawChoice, {"threshold": float("inf")}, "threshold=inf"),
        (ProportionChoice, {"proportions": {}}, "weights by source"),
        (ProportionChoice, {"proportions": ["prompt"]}, "must be a mapping"),
        (ProportionChoice, {"proportions": {"prompt": "much"}}, "proportions.prompt='much'"),
        (ProportionChoice, {"proportions": {"prompt": 0}}, "all 0"),
    ],
)
def test_settings_that_cannot_work(cls: type, settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(cls, settings)


def test_captions_that_no_draw_gives_are_counted(tmp_path: Path, picture: Callable[..., bytes]) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    captions = {"prompt": "one", "vila_caption": "two", "blip_caption": "three"}

    def told(choice: CaptionChoice, **scores: float) -> list[str]:
        (tmp_path / "a.json").write_text(json.dumps({**captions, "scores": scores}))
        return never_drawn(open_data(tmp_path), [0], choice)

    logits = {"prompt": -9.0, "vila_caption": -4.0, "blip_caption": -5.0}
    (sentence,) = told(PowerLawChoice())
    assert sentence.startswith("2 of 3 captions are never drawn, blip_caption of a for one: without scores the first")
    (sentence,) = told(PowerLawChoice(), **logits)
    assert "threshold=0, so the best is always taken; {type: exponential}" in sentence
    assert told(ExponentialChoice(), **logits) == []
    (sentence,) = told(PowerLawChoice(threshold=25.0), prompt=25.0, vila_caption=24.0, blip_caption=30.0)
    assert "vila_caption of a for one: they score less than caption_choice.threshold=25" in sentence
    (sentence,) = told(PowerLawChoice(threshold=25.0), prompt=25.0, vila_caption=24.0, blip_caption=20.0)
    assert "they score less than" in sentence  # the best is at the threshold and passes
    (sentence,) = told(PowerLawChoice(), prompt=0.0, vila_caption=2.0, blip_caption=1.0)
    assert "prompt of a for one: a score of 0 or less weighs nothing" in sentence
    assert len(told(PowerLawChoice(), prompt=3.0, vila_caption=-4.0)) == 2
    assert "proportions gives their sources no share" in told(ProportionChoice())[0]
    (sentence,) = inspect_data(open_data(tmp_path)).caption_notes
    assert sentence.startswith("2 of 3")
