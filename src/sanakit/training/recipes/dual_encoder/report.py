"""What a dual encoder's run leaves behind: curves, and scores on held-out scenes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sanakit.checkpoints.networks.strict_load import load_network
from sanakit.checkpoints.opening import load_bundle
from sanakit.checkpoints.sources.complete import find_autoencoder
from sanakit.common.files import write_json
from sanakit.common.pixels import Picture, from_unit, to_unit
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.benchmarks.best_of import Trial, best_of_report, heldout_prompts
from sanakit.evaluation.benchmarks.dual_encoder_score import dual_encoder_report
from sanakit.evaluation.reports.report import Report
from sanakit.evaluation.worlds.subject import Subject
from sanakit.features.scenes import open_bank
from sanakit.models.autoencoders.dc_ae import DCAutoencoder
from sanakit.pipelines.best_of.settings import BestOf
from sanakit.pipelines.text_to_image import TextToImagePipeline
from sanakit.scoring.dual_encoder import DualEncoderScorer, load_dual_encoder, load_scorer_text_encoder
from sanakit.scoring.judges.judge import SimilarityJudge
from sanakit.scoring.reading.load import load_reader, shipped_recogniser
from sanakit.training.recipes.dual_encoder.families import reconstructed
from sanakit.training.watching.report import draw_curves, read_log, spent, write_report
from sanakit.worlds.banks.bank import Bank

logger = logging.getLogger(__name__)

_NUM_SCENES, _NUM_PROMPTS, _NUM_SEEDS, _SEED = 128, 40, 4, 0


def report_dual_encoder(
    recipe: Mapping[str, Any], folder: Path, *, device: str = "cpu", on_progress: OnProgress = no_progress
) -> Path:
    """``report.md``, ``curves.png`` and ``scores.json`` of the finished weights, in bfloat16 as they are loaded.

    Held-out scenes of the bank are scored as painted and after a pass through the starter's autoencoder; where
    a recogniser ships, the starter draws pictures of which the best is chosen.

    Args:
        recipe: as plain values, for the page.
        folder: of the run, with its log and its model.
    """
    model = load_dual_encoder(folder / "model")
    scorer = DualEncoderScorer(model, load_scorer_text_encoder(model.config, device=device), device=device)
    bank = open_bank(recipe["data"]["bank"], recipe["data"]["names"])
    lines = read_log(folder / "log.jsonl")
    images = draw_curves({"loss": lines}, ("loss", "own_caption_first"), folder)
    how: dict[str, Any] = {"num_scenes": _NUM_SCENES, "seed": _SEED, "on_progress": on_progress}
    logger.info("scoring on %d painted scenes of each kind; report: false in the recipe leaves it out", _NUM_SCENES)
    painted = dual_encoder_report(scorer, bank, **how)
    logger.info("scoring on the same scenes after the starter's autoencoder")
    decoded = dual_encoder_report(scorer, bank, **how, alter=through(starter_autoencoder(device)))
    results = {
        "run": spent(lines),
        "columns": "held-out scenes as painted; after the starter's autoencoder (chance 50 %, of 64: 1.6 %)",
        **percent_rows(painted, decoded),
    }
    scores = {"painted": painted.to_json(), "reconstructed": decoded.to_json()}
    if has_reader():
        logger.info("drawing %d prompts with %d seeds, of which the best is chosen", _NUM_PROMPTS, _NUM_SEEDS)
        best = best_of(scorer, bank, device, on_progress)
        scores["best_of"] = best.to_json()
        what = f"generated pictures judged all right, {_NUM_PROMPTS} held-out prompts x {_NUM_SEEDS} seeds"
        results[what] = ", ".join(f"{name} {share}" for name, share in percent_rows(best).items())
    write_json(folder / "scores.json", scores)
    return write_report(folder, title="The starter's dual encoder", recipe=recipe, results=results, images=images)


def has_reader() -> bool:
    """Whether a recogniser ships, which can judge what the starter draws."""
    found = (shipped_recogniser() / "config.json").is_file()
    if not found:
        logger.info("no recogniser ships, so the best of %d generated pictures is not measured", _NUM_SEEDS)
    return found


def best_of(scorer: DualEncoderScorer, bank: Bank, device: str, on_progress: OnProgress = no_progress) -> Report:
    """The starter draws held-out prompts with several seeds, and the scorer chooses."""
    trial = Trial(
        pipeline=TextToImagePipeline(load_bundle("starter", device=device)),
        judges=[SimilarityJudge(scorer)],
        reader=load_reader(device=device),
        settings=BestOf(num=_NUM_SEEDS),
    )
    prompts = heldout_prompts(Subject(bank=bank, places=tuple(bank.places)), _NUM_PROMPTS, seed=_SEED)
    return best_of_report(trial, prompts, seed=_SEED, settings={}, on_progress=on_progress)[0]


def starter_autoencoder(device: str = "cpu") -> DCAutoencoder:
    """The autoencoder that ships, without the rest of the model."""
    autoencoder = load_network(find_autoencoder("starter"), dtype=torch.float32, device=device)
    return autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def percent_rows(*reports: Report) -> dict[str, str]:
    """Lines of the page: each measurement of the first report, and beside it those of the others."""
    return {each.name: "; ".join(report[each.name].percent for report in reports) for each in reports[0].measurements}


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
