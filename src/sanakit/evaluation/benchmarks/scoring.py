"""Score a drawn prompt list with the networks at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.benchmarks.run import Drawn
from sanakit.evaluation.benchmarks.score import Against, geneval_report, mjhq_report
from sanakit.evaluation.benchmarks.world_detector import WorldDetector
from sanakit.evaluation.metrics.half_sampling import NUM_HALVES
from sanakit.evaluation.reports.report import Report, Setting
from sanakit.scoring.detecting.geneval_rules import ObjectDetector
from sanakit.scoring.detecting.object_detectors import load_object_detector, require_classes
from sanakit.scoring.extractors.load import load_extractor
from sanakit.scoring.reading.load import load_reader
from sanakit.scoring.scorers import ImageTextScorer, load_scorer


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """What there is to score with: sources of networks, each loaded when it is needed, and MJHQ-30K's own pictures."""

    extractor: str = "efficientnet-lite0"
    resize: str | None = None  # of an Inception-v3 as the extractor
    num_halves: int = NUM_HALVES
    scorer: str | None = None  # CLIP or SigLIP
    detector: str | None = None  # a COCO detector
    reference: Path | None = None
    device: str = "cpu"
    hub: HubOptions = field(default_factory=HubOptions)

    def score(
        self, drawn: Drawn, *, settings: Mapping[str, Setting], on_progress: OnProgress = no_progress
    ) -> Report | None:
        """A report with the ``settings`` that made the pictures; None where the benchmark's own scorer is needed."""
        prompts = drawn.drawing.prompts
        if prompts.suite == "geneval" and (self.detector is not None or prompts.source == "starter"):
            return geneval_report(drawn, self._load_detector(drawn), settings=settings, on_progress=on_progress)
        if prompts.suite == "mjhq" and (self.reference is not None or self.scorer is not None):
            against, scorer = self._load_reference(), self._load_scorer()
            return mjhq_report(drawn, settings=settings, against=against, scorer=scorer, on_progress=on_progress)
        return None

    def _load_reference(self) -> Against | None:
        if self.reference is None:
            return None
        extractor = load_extractor(self.extractor, resize=self.resize, device=self.device, hub=self.hub)
        return Against(folder=self.reference, extractor=extractor, num_halves=self.num_halves, device=self.device)

    def _load_scorer(self) -> ImageTextScorer | None:
        return load_scorer(self.scorer, device=self.device, hub=self.hub) if self.scorer is not None else None

    def _load_detector(self, drawn: Drawn) -> ObjectDetector:
        """The detector, which must know every class that the prompts name; of the worlds' own prompts their reader."""
        if self.detector is None:
            return WorldDetector(load_reader(device=self.device))
        scorer = self._load_scorer()
        found = load_object_detector(self.detector, colour_scorer=scorer, device=self.device, hub=self.hub)
        entries = drawn.drawing.prompts.entries
        require_classes(found, {wanted["class"] for entry in entries for wanted in entry.metadata["include"]})
        return found
