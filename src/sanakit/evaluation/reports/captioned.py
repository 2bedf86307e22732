"""How well pictures fit their texts: a CLIP-style score over a folder or data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sanakit.common.errors import PictureError, RequestError
from sanakit.common.progress import OnProgress, no_progress
from sanakit.data.curation.captioners import is_cut
from sanakit.data.open import open_data
from sanakit.evaluation.reports.picture_sets import Measured, PictureSet, first_of, from_source, open_pictures
from sanakit.evaluation.reports.report import Report, mean_of, use_of
from sanakit.pipelines.picture_file import read_record
from sanakit.scoring.scorers import ImageTextScorer

PROTOCOL = (
    "The mean over pictures of the score of each with its text, as the scorer gives it. Of a data set, samples "
    "without a readable picture or a text are left out and counted."
)
_BATCH = 16


def open_captioned(path: Path, *, limit: int | None = None, also: Sequence[str | Path] = ()) -> PictureSet:
    """Pictures with one text each: the prompt inside those that sanakit made, else the data set's first caption;
    arguments as of ``open_pictures``.

    Raises:
        RequestError: no pictures, or one without a text.
    """
    pictures = open_pictures(path, limit=limit, also=also)
    if not all(pictures.captions):
        pictures = _prompts_inside(pictures) or _from_data(path, limit, also)
    missing = [key for key, captions in zip(pictures.keys, pictures.captions, strict=True) if not captions]
    if missing:
        counted = f"{len(missing)} of {len(pictures)} pictures in {path}"
        raise RequestError(f"{counted} have no text, the first is {missing[0]}; give each a caption")
    return pictures


def _prompts_inside(pictures: PictureSet) -> PictureSet | None:
    """The set with the prompts that its files hold as metadata; None if some file holds none."""
    try:
        prompts = [read_record(pictures.path / key).request.prompt for key in pictures.keys]
    except PictureError:
        return None
    return replace(pictures, captions=tuple((prompt,) for prompt in prompts))


def clip_score_report(
    pictures: PictureSet, scorer: ImageTextScorer, *, seed: int = 0, on_progress: OnProgress = no_progress
) -> Report:
    """The mean score with its bootstrap interval; ``details`` holds each picture's.

    Raises:
        PictureError: a picture cannot be read.
    """
    measured, scores = Measured(pictures), list[float]()
    texts = [captions[0] for captions in pictures.captions]
    for start in range(0, len(pictures), _BATCH):
        group = range(start, min(start + _BATCH, len(pictures)))
        images = [pictures.read(index) for index in group]
        for image in images:
            measured.add(image)
        scores += scorer.score(images, [texts[index] for index in group])
        on_progress(len(scores), len(pictures), "scoring")
    cut = sum(is_cut(scorer, text) for text in texts) or None
    lines = [
        {"key": key, "text": text, "score": score}
        for key, text, score in zip(pictures.keys, texts, scores, strict=True)
    ]
    return Report(
        title=f"Image-text score with {scorer.name}",
        protocol=PROTOCOL,
        measurements=(mean_of("score", scores, seed=seed),),
        seed=seed,
        inputs={"pictures": measured.facts(texts_cut_by_the_scorer=cut)},
        settings={},
        networks=(use_of(scorer),),
        details={"pictures": lines},
    )


def _from_data(path: Path, limit: int | None, also: Sequence[str | Path]) -> PictureSet:
    found = from_source(open_data(path, also=also))
    if not len(found):
        raise RequestError(
            f"{path} has no texts: neither prompts inside pictures that sanakit made, nor captions beside them"
        )
    return found if limit is None else first_of(found, limit)
