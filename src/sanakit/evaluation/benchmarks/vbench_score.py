"""VBench's dimensions that frames alone decide, in plain torch: how steady clips are, and how their frames look.

Of each clip every frame counts, as its file has them. Source: VBench, arXiv:2311.17982, section 3 and its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sanakit.checkpoints.files.hub import HubOptions
from sanakit.checkpoints.files.reader import read_tensors
from sanakit.checkpoints.identity.hashing import hash_tensors
from sanakit.common.errors import CheckpointError, RequestError
from sanakit.common.pixels import to_unit
from sanakit.common.progress import OnProgress, no_progress
from sanakit.evaluation.benchmarks.vbench import VBenchList
from sanakit.evaluation.reports.report import Measurement, NetworkUse, Report, Setting, mean_of
from sanakit.pipelines.clips.files import read_frames
from sanakit.scoring.extractors.preprocessing import find_model_folder
from sanakit.scoring.extractors.vision_tower import FirstToken, VisionTower, load_first_token, load_vision_tower

PROTOCOL = (
    "temporal_flickering: 1 minus the mean difference of levels between frames that follow each other, over 255; clips "
    "are taken as they are, and not first sorted by optical flow. subject_consistency (DINO), background_consistency "
    "(CLIP ViT-B/32): of every frame but the first the mean of its cosines with the frame before and with the first "
    "one, none below 0. aesthetic_quality: LAION's linear head on CLIP ViT-L/14, over 10, the mean of all frames. "
    "Frames are resized as VBench does, bicubic (DINO: bilinear) without antialiasing, shorter side 224. The number is "
    "the mean over clips. Intervals: 95 %, percentile bootstrap over clips."
)
SCORED = ("temporal_flickering", "subject_consistency", "background_consistency", "aesthetic_quality")
_OTHERS: Mapping[str, str] = {
    "motion_smoothness": "AMT, a network between frames",
    "dynamic_degree": "RAFT, optical flow",
    "imaging_quality": "MUSIQ",
    "object_class": "GRiT, a describing detector",
    "multiple_objects": "GRiT, a describing detector",
    "color": "GRiT, a describing detector",
    "spatial_relationship": "GRiT, a describing detector",
    "scene": "Tag2Text",
    "human_action": "UMT",
    "appearance_style": "CLIP's text side on published wordings",
    "temporal_style": "ViCLIP",
    "overall_consistency": "ViCLIP",
}
_SIDE = 224
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

Frames = NDArray[np.uint8]
Score = Callable[[Frames], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class VBenchNetworks:
    """Where VBench's networks are: folders or hub ids in transformers' layout, and a file for the head."""

    dino: str | None = None
    clip_b32: str | None = None
    clip_l14: str | None = None
    aesthetic_head: str | None = None
    device: str = "cpu"
    hub: HubOptions | None = None

    def check(self) -> None:
        """Raises what `score` does of networks that are not there."""
        for name in (self.dino, self.clip_b32, self.clip_l14):
            if name is not None:
                find_model_folder(name, self.hub)
        if self.aesthetic_head is not None:
            self._head(Path(self.aesthetic_head))

    def score(self, dimension: str) -> tuple[Score, tuple[NetworkUse, ...]] | None:
        """How clips are scored, and by what; None where its networks are not named.

        Raises:
            RequestError: the dimension is one of those that are not there.
            CheckpointError: weights are damaged, or of another network.
        """
        tower: VisionTower | FirstToken
        match dimension:
            case "temporal_flickering":
                return flickering, ()
            case "subject_consistency" if self.dino is not None:
                tower = load_first_token(self.dino, device=self.device, hub=self.hub)
                look = self._looking(tower, _IMAGENET, crop=False)
            case "background_consistency" if self.clip_b32 is not None:
                tower = load_vision_tower(self.clip_b32, device=self.device, hub=self.hub)
                look = self._looking(tower, _CLIP, crop=True)
            case "aesthetic_quality" if self.clip_l14 is not None and self.aesthetic_head is not None:
                tower = load_vision_tower(self.clip_l14, device=self.device, hub=self.hub)
                head, used = self._head(Path(self.aesthetic_head))
                seen = self._looking(tower, _CLIP, crop=True)
                return (lambda frames: float(head(seen(frames)).mean() / 10)), (_use(tower), used)
            case "subject_consistency" | "background_consistency" | "aesthetic_quality":
                return None
            case _:
                check_dimensions([dimension])
                raise AssertionError(dimension)
        return (lambda frames: steadiness(look(frames))), (_use(tower),)

    def _looking(
        self, tower: VisionTower | FirstToken, norm: tuple[tuple[float, ...], tuple[float, ...]], *, crop: bool
    ) -> Callable[[Frames], Tensor]:
        """Frames to features of length 1, ``(T, F)``."""
        mean, deviation = (torch.tensor(each, device=self.device)[:, None, None] for each in norm)

        @torch.no_grad()
        def look(frames: Frames) -> Tensor:
            rows = []
            for batch in _batches(frames):
                pixels = resized(to_unit(list(batch)).to(self.device), bicubic=crop, crop=crop)
                rows.append(tower.features((pixels - mean) / deviation))
            return F.normalize(torch.cat(rows), dim=-1)

        return look

    def _head(self, path: Path) -> tuple[nn.Linear, NetworkUse]:
        state = {name: tensor.float() for name, tensor in read_tensors([path]).items()}
        if {name: tuple(tensor.shape) for name, tensor in state.items()} != {"weight": (1, 768), "bias": (1,)}:
            raise CheckpointError(f"{path} is not LAION's linear head of CLIP ViT-L/14 (weight 1 x 768, bias)")
        head = nn.Linear(768, 1)
        head.load_state_dict(state)
        use = NetworkUse(name=f"head {path.name}", weights_hash=hash_tensors(state), resize_rule="none")
        return head.requires_grad_(False).to(self.device), use


def check_dimensions(dimensions: Sequence[str]) -> None:
    """Raises RequestError for the first that is not VBench's, or that needs a network which is not there."""
    for each in dimensions:
        if each in _OTHERS:
            raise RequestError(
                f"{each} is not scored here, as it needs {_OTHERS[each]}; VBench's own scorer takes the clips"
            )
        if each not in SCORED:
            raise RequestError(f"{each} is no dimension of VBench; scored here are {', '.join(SCORED)}")


def vbench_report(
    listed: VBenchList,
    folder: Path,
    dimensions: Sequence[str],
    networks: VBenchNetworks,
    *,
    seed: int,
    settings: Mapping[str, Setting],
    on_progress: OnProgress = no_progress,
) -> Report:
    """The clips of ``folder`` in some dimensions, each over the prompts that are of it; those without a prompt or a
    network are missing in it, with the reason.

    Raises:
        RequestError: a dimension is not there.
    """
    check_dimensions(dimensions)
    measured, missing, used = list[Measurement](), dict[str, str](), dict[str, NetworkUse]()
    for number, dimension in enumerate(dimensions):
        files = [file for each in listed.prompts if dimension in each.dimensions for file in each.files(folder)]
        found = networks.score(dimension)
        if not files or found is None:
            missing[dimension] = "no prompt of the list is of it" if not files else "its networks are not named"
            continue
        used |= {each.name: each for each in found[1]}
        measured.append(mean_of(dimension, [found[0](np.stack([*read_frames(file)])) for file in files], seed=seed))
        on_progress(number + 1, len(dimensions), "scoring")
    return Report(
        title="VBench",
        protocol=PROTOCOL,
        measurements=tuple(measured),
        missing=missing,
        seed=seed,
        inputs={"prompts": len(listed.prompts), "clips": listed.num_clips, "hash of the list": listed.sha256[:10]},
        settings=settings,
        networks=tuple(used.values()),
    )


def flickering(frames: Frames) -> float:
    """1 where nothing changes, of ``(T, H, W, 3)``; a single frame has no flicker."""
    if len(frames) < 2:
        return 1.0
    changes = [np.abs(now.astype(np.float32) - then).mean() for then, now in pairwise(frames)]
    return float((255.0 - np.mean(changes)) / 255.0)


def steadiness(features: Tensor) -> float:
    """Of features of length 1, ``(T, F)``: cosines with the frame before and with the first one, none below 0."""
    if len(features) < 2:
        return 1.0
    before = (features[1:] * features[:-1]).sum(1).clamp(min=0)
    first = (features[1:] @ features[0]).clamp(min=0)
    return float(((before + first) / 2).mean())


def resized(images: Tensor, *, bicubic: bool, crop: bool) -> Tensor:
    """``(B, 3, H, W)`` in [0, 1] with the shorter side at 224, in 256 levels; with ``crop`` the middle square of it."""
    shorter = min(images.shape[-2:])
    size = tuple(int(_SIDE * side / shorter) for side in images.shape[-2:])
    how = "bicubic" if bicubic else "bilinear"
    found = F.interpolate(images * 255, size=size, mode=how, align_corners=False, antialias=False)
    found = found.round().clamp(0, 255) / 255
    if not crop:
        return found
    top, left = (round((side - _SIDE) / 2) for side in size)
    return found[..., top : top + _SIDE, left : left + _SIDE]


def _batches(frames: Frames, size: int = 16) -> Iterator[Frames]:
    return (frames[start : start + size] for start in range(0, len(frames), size))


def _use(tower: VisionTower | FirstToken) -> NetworkUse:
    return NetworkUse(name=tower.name, weights_hash=tower.weights_hash, resize_rule="as VBench")
