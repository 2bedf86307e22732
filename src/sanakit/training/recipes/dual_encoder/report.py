"""What a dual encoder's run leaves behind: curves, scores on held-out scenes, the best of four generated pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sanakit.common.files import write_json
from sanakit.common.pixels import Picture, from_unit, to_unit
from sanakit.evaluation.benchmarks.dual_encoder_score import (
    BestOfReport,
    DualEncoderReport,
    best_of,
    evaluate_dual_encoder,
)
from sanakit.evaluation.drawing import drawing_with
from sanakit.evaluation.metrics.bootstrap import Estimate
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.dual_encoder import DualEncoderScorer
from sanakit.training.recipes.dual_encoder.scene_families import reconstructed
from sanakit.training.watching.report import draw_curves, read_log, spent, write_report

logger = logging.getLogger(__name__)


def report_dual_encoder(
    scorer: DualEncoderScorer,
    recipe: Mapping[str, Any],
    folder: Path,
    log: Path,
    *,
    autoencoder: DCAutoencoder,
    pipeline: TextToImagePipeline | None = None,
    num_scenes: int = 192,
    num_prompts: int = 40,
    num_seeds: int = 4,
    seed: int = 0,
) -> Path:
    """``report.md``, ``curves.png`` and ``scores.json``.

    Args:
        recipe: as plain values, for the page.
        log: the run's ``log.jsonl``.
        autoencoder: of the starter; the scenes are also scored after a pass through it.
        pipeline: draws the pictures for the best of ``num_seeds``; None leaves that out.
    """
    lines = read_log(log)
    draw_curves({"sigmoid loss": lines}, ("loss", "own_caption_first"), folder / "curves.png")
    painted = evaluate_dual_encoder(scorer, num_scenes=num_scenes, seed=seed)
    logger.info("scored on painted scenes")
    decoded = evaluate_dual_encoder(scorer, num_scenes=num_scenes, seed=seed, alter=through(autoencoder))
    logger.info("scored on reconstructed scenes")
    scores: dict[str, Any] = {"painted": painted.to_json(), "reconstructed": decoded.to_json()}
    results = {"run": spent(lines), **score_rows(painted, decoded)}
    if pipeline is not None:
        best = best_of(scorer, drawing_with(pipeline), num_prompts=num_prompts, num_seeds=num_seeds, seed=seed)
        scores["best_of"] = best.to_json()
        results |= best_of_rows(best)
    write_json(folder / "scores.json", scores)
    return write_report(
        folder, title="The starter's dual encoder", recipe=recipe, results=results, images=("curves.png",)
    )


def score_rows(painted: DualEncoderReport, decoded: DualEncoderReport) -> dict[str, str]:
    """Lines of the page: painted scenes, then the same after the autoencoder."""
    rows = {"columns": "held-out scenes as painted; after the starter's autoencoder (chance 50 %, of 64: 1.6 %)"}
    for kind, pair in painted.wrong_word.items():
        other = decoded.wrong_word[kind]
        rows[f"wrong {kind}: own caption above"] = f"{_percent(pair.captions)}; {_percent(other.captions)}"
        rows[f"wrong {kind}: own picture above"] = f"{_percent(pair.pictures)}; {_percent(other.pictures)}"
    rows["own caption first of 64"] = f"{_percent(painted.caption_of_64)}; {_percent(decoded.caption_of_64)}"
    rows["own picture first of 64"] = f"{_percent(painted.picture_of_64)}; {_percent(decoded.picture_of_64)}"
    return rows


def best_of_rows(best: BestOfReport) -> dict[str, str]:
    """Lines of the page about generated pictures."""
    return {
        f"generated pictures judged all right, {best.random.num_samples} held-out prompts x {best.num_seeds} seeds": (
            f"random seed {_percent(best.random)}, chosen by this scorer {_percent(best.chosen)}, "
            f"gain {_percent(best.gain)}, best possible {_percent(best.best_possible)}"
        )
    }


def through(autoencoder: DCAutoencoder) -> Any:
    """A function that passes pictures through the autoencoder, without noise."""

    @torch.no_grad()
    def alter(pictures: Sequence[Picture]) -> list[Picture]:
        altered: list[Picture] = []
        for start in range(0, len(pictures), 32):
            pixels = to_unit(pictures[start : start + 32])
            decoded = reconstructed(pixels, autoencoder, torch.zeros(len(pixels)), torch.Generator())
            altered += from_unit(decoded)
        return altered

    return alter


def _percent(score: Estimate) -> str:
    return f"{score.mean:.1%} [{score.low:.1%}, {score.high:.1%}]"
