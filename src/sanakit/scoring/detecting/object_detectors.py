"""COCO detectors of transformers behind GenEval's rules: YOLOS, DETR, RT-DETR and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import RequestError, need_transformers
from sanakit.scoring.detecting.geneval_rules import COLOURS, SeenObject
from sanakit.scoring.extractors.preprocessing import find_model_folder, pretrained
from sanakit.scoring.scorers import ImageTextScorer

_THRESHOLD, _COUNTING_THRESHOLD = 0.3, 0.9  # GenEval's, for Mask2Former
_TEMPLATES = ("a photo of a {colour} {name}", "a photo of a {colour}-colored {name}", "a photo of a {colour} object")
# GenEval's names where they are not COCO's own.
_GENEVAL_NAMES = {"remote": "tv remote", "keyboard": "computer keyboard", "mouse": "computer mouse"}


class TransformersDetector:
    """A detector with a fixed list of classes; ``colour_scorer`` names colours on the cut-out of an object's box."""

    def __init__(self, network: Any, processor: Any, *, name: str, colour_scorer: ImageTextScorer | None) -> None:
        self.network = network.eval().requires_grad_(False)
        self.processor, self.name, self.colour_scorer = processor, name, colour_scorer
        self.weights_hash = hash_tensors(self.network.state_dict())
        self.resize_rule = f"{type(processor).__name__} with {dict(processor.size)}"
        colours = "no colours" if colour_scorer is None else f"colours by {colour_scorer.name} on boxes without masks"
        self.protocol = (
            f"Thresholds {_THRESHOLD} and, for counting, {_COUNTING_THRESHOLD}; {colours}. GenEval's published numbers "
            f"are of Mask2Former with masks and CLIP ViT-L/14, so they are not comparable."
        )

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(_geneval_name(name) for name in self.network.config.id2label.values())

    @torch.no_grad()
    def detect(self, image: Image.Image, *, counting: bool) -> list[SeenObject]:
        inputs = self.processor(images=image.convert("RGB"), return_tensors="pt").to(self.network.device)
        how = {"threshold": _COUNTING_THRESHOLD if counting else _THRESHOLD, "target_sizes": [image.size[::-1]]}
        (found,) = self.processor.post_process_object_detection(self.network(**inputs), **how)
        labels = self.network.config.id2label
        return [
            SeenObject(name=_geneval_name(labels[int(label)]), confidence=float(score), box=tuple(box.tolist()))
            for score, label, box in zip(found["scores"], found["labels"], found["boxes"], strict=True)
        ]

    def colours(self, image: Image.Image, objects: Sequence[SeenObject]) -> list[str | None]:
        """The colour whose three sentences together fit the cut-out best.

        Raises:
            RequestError: no scorer was given to tell colours with.
        """
        if self.colour_scorer is None:
            raise RequestError(
                f"these prompts ask for colours; give a CLIP or SigLIP that names them (--scorer, or "
                f"geneval:{self.name}@CLIP as a reward)"
            )
        return [self._colour(image, thing, self.colour_scorer) for thing in objects]

    def _colour(self, image: Image.Image, thing: SeenObject, scorer: ImageTextScorer) -> str:
        left, top, right, bottom = (round(edge) for edge in thing.box)
        left, top = min(max(left, 0), image.width - 1), min(max(top, 0), image.height - 1)
        cut = image.crop((left, top, max(min(right, image.width), left + 1), max(min(bottom, image.height), top + 1)))
        sentences = [text.format(colour=colour, name=thing.name) for colour in COLOURS for text in _TEMPLATES]
        scores = torch.tensor(scorer.score([cut] * len(sentences), sentences))
        return COLOURS[int(scores.view(len(COLOURS), len(_TEMPLATES)).mean(1).argmax())]


def load_object_detector(
    name_or_path: str,
    *,
    colour_scorer: ImageTextScorer | None = None,
    device: str | torch.device = "cpu",
    hub: HubOptions | None = None,
) -> TransformersDetector:
    """A folder or hub id of a transformers object detector; ``hub`` says how it is fetched and whether its code is run.

    Raises:
        RequestError, DownloadError, CheckpointError: it is not there, or no object detector.
    """
    need_transformers(f"{name_or_path} as a detector")
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    folder, trusted = find_model_folder(name_or_path, hub), hub is not None and hub.trusts(name_or_path)
    otherwise = f"{name_or_path} is no object detector that transformers loads"
    processor = pretrained(AutoImageProcessor, folder, otherwise, trusted=trusted)
    kind = AutoModelForObjectDetection
    network = pretrained(kind, folder, otherwise, trusted=trusted, dtype=torch.float32).to(device)
    return TransformersDetector(network, processor, name=name_or_path, colour_scorer=colour_scorer)


def require_classes(detector: TransformersDetector, wanted: set[str]) -> None:
    """Raises:
    RequestError: the detector does not know a class that is asked for, so no picture of it could ever be right.
    """
    if missing := sorted(wanted - detector.classes):
        raise RequestError(
            f"{detector.name} does not know {missing[0]} and {len(missing) - 1} other classes of these prompts; "
            f"give a detector of COCO's 80 classes"
        )


def _geneval_name(name: str) -> str:
    return _GENEVAL_NAMES.get(name, name)
