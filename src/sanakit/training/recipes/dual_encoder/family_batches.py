"""Cached families as micro-batches, with what is known of every picture and every caption of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.features.batches import TextRows
from sanakit.models.text.text_condition import TextCondition
from sanakit.training.recipes.dual_encoder.families import FAMILY_SIZE, FamiliesConfig, part_files


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Pictures and captions at the same place, whole families together.

    ``labels`` ``(B, B)`` int8 of pictures and captions: 1 its own words, -1 wrong, 0 true or perhaps true, not asked.
    """

    patches: Tensor  # (B, 16, C)
    text: TextCondition  # (B, L, C)
    labels: Tensor

    def to(self, device: torch.device | str) -> PairBatch:
        text = TextCondition(self.text.embeds.to(device), self.text.mask.to(device))
        return PairBatch(self.patches.to(device), text, self.labels.to(device))


class FamilyBatches:
    """The cached families in a fresh order each epoch; micro-batch ``number`` follows from seed and number alone."""

    def __init__(self, folder: Path, config: FamiliesConfig, *, batch_size: int, seed: int) -> None:
        if batch_size % FAMILY_SIZE:
            raise ConfigError(f"batch_size={batch_size} must be a multiple of {FAMILY_SIZE}, the size of a family")
        parts = [torch.load(path, weights_only=True, mmap=True) for path in part_files(config, folder)]
        self._patches = torch.cat([part["patches"] for part in parts], dim=1)  # (copies, scenes, 16, C) bf16
        self._labels = torch.cat([part["labels"] for part in parts], dim=1)  # (copies, families, 6, 6)
        self._names = torch.cat([part["names"] for part in parts])  # (scenes, 4)
        self._might_pass = parts[0]["might_pass"]  # (names, names)
        embeds, lengths = (torch.cat([part[name] for part in parts]) for name in ("embeds", "lengths"))
        self._texts = TextRows(embeds, lengths)  # bf16
        self._seed, self._families_per_batch = seed, batch_size // FAMILY_SIZE
        self._num_families = config.total
        self.num_batches: int | None = -(-config.total // self._families_per_batch)

    def num_samples(self, number: int) -> int:
        return len(self._chosen(number)) * FAMILY_SIZE

    def batch(self, number: int) -> PairBatch:
        """Micro-batch ``number`` of the run, in float32 on the CPU; each family in one of its copies, by chance."""
        families = self._chosen(number)
        scenes = (families[:, None] * FAMILY_SIZE + torch.arange(FAMILY_SIZE)).flatten()
        draws = np.random.default_rng((self._seed, number, 1)).integers(len(self._patches), size=len(families))
        copies = torch.from_numpy(draws)
        patches = self._patches[copies.repeat_interleave(FAMILY_SIZE), scenes].float()
        labels = labels_by_name(self._names[scenes], self._might_pass)
        for place, (copy, family) in enumerate(zip(copies.tolist(), families.tolist(), strict=True)):
            own = slice(place * FAMILY_SIZE, (place + 1) * FAMILY_SIZE)
            labels[own, own] = self._labels[copy, family]
        return PairBatch(patches, self._texts.batch(scenes), labels)

    def statistics(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Mean and standard deviation per channel: of patches, and of text states."""
        patches = self._patches[0, :: max(1, self._patches.shape[1] // 2000)].float().flatten(0, 1)
        embeds = self._texts.embeds[:20_000].float()
        return _mean_std(patches), _mean_std(embeds)

    def _chosen(self, number: int) -> Tensor:
        """The families of a micro-batch."""
        assert self.num_batches is not None
        epoch, place = divmod(number, self.num_batches)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._num_families)
        return torch.from_numpy(order[place * self._families_per_batch :][: self._families_per_batch])


def labels_by_name(names: Tensor, might_pass: Tensor) -> Tensor:
    """-1 where the names of a caption are wrong of a picture, else 0: ``(B, B)`` int8 of pictures and captions.

    Args:
        names: ``(B, things)`` numbers of names, -1 for none.
        might_pass: ``(names, names)`` bool: whether a picture of one might be called as the other.
    """
    there = names >= 0
    shown, said = there[:, None, :, None], there[None, :, None, :]
    alike = might_pass[names[:, None, :, None], names[None, :, None, :]] & shown & said  # (B, B, shown, said)
    all_said = (alike.any(2) | ~said[:, :, 0]).all(2)  # every name that is said is shown by something
    all_shown = (alike.any(3) | ~shown[..., 0]).all(2)
    same_number = there.sum(1)[:, None] == there.sum(1)[None]
    return -(~(all_said & all_shown & same_number)).to(torch.int8)


def _mean_std(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.mean(0), rows.std(0).clamp(min=1e-3)
