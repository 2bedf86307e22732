"""What a network is told beside its latent and the time: one row for each row of the batch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, compress
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ShapeError
from sanakit.kernels.cross_attention import FoldedText
from sanakit.layers.cross_attention import AttendedText

FoldedRows = tuple[FoldedText | None, ...]


class Beside(NamedTuple):
    """What networks beside a transformer may read of it: its input, ``latent (B, C, H, W)`` and ``timestep (B,)``; and
    the state ``x (B, N, C)`` behind its first block with the ``modulation (B, 6, C)`` of all."""

    latent: Tensor
    timestep: Tensor
    x: Tensor
    modulation: Tensor


class SideNetwork(Protocol):
    """A network beside a transformer: what it adds to the state behind blocks, by number, ``(B, N, C)`` each."""

    def __call__(self, beside: Beside, control: Control) -> Mapping[int, Tensor]: ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Control:
    """What a side network is told, row by row.

    Args:
        network: the side network.
        hint: of the picture that controls, ``(B, C, h, w)`` with a position for every token.
        text: as the side network's own blocks see it.
        scale: ``(B,)``, what its outputs are multiplied by.
        interval: shares of the steps, from 0 to 1, between which it acts.
    """

    network: SideNetwork
    hint: Tensor
    text: Condition
    scale: Tensor
    interval: tuple[float, float] = (0.0, 1.0)

    def acts_in(self, step: int, num_steps: int) -> bool:
        """As diffusers counts: a step that is not wholly within the interval is none."""
        return step / num_steps >= self.interval[0] and (step + 1) / num_steps <= self.interval[1]

    @staticmethod
    def cat(parts: Sequence[Control]) -> Control:
        """Rows of one network, one after the other; all of them act."""
        return Control(
            network=parts[0].network,
            hint=torch.cat([part.hint for part in parts]),
            text=Condition.cat([part.text for part in parts]),
            scale=torch.cat([part.scale for part in parts]),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Condition:
    """The rows of a call of the network; a further kind of condition is a further field, and its line in ``cat``.

    Args:
        keys, values: of every block's cross-attention, ``(B, heads, L, D)`` each.
        mask: ``(B, 1, 1, L)`` bool, True where the text may be seen.
        folded: of every block, for every row, keys and values with the projections around them multiplied in, which
            stand in for them; ``()`` where none are.
        perturbed: blocks, by number, in which self-attention is the identity for some rows, ``(B,)`` bool each, for
            perturbed-attention guidance (arXiv:2403.17377).
        guidance: ``(B,)`` guidance scale, of networks with a guidance embedding (Sprint) only.
        clean: ``(B, T)`` bool, latent frames of a clip that are given without noise: the network is told time 0 of
            them; None where all have the same.
        fps: ``(B,)`` float32 frames a second, of networks whose positions in time are seconds; None for their own.
        beside: what each of the ``B`` rows takes of the adapters that the network carries, or ``()`` for nothing; who
            calls the network tells it by ``told_by_row`` (``layers/beside.py``).
        controls: what networks beside it are told; all rows have the same ones.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    folded: tuple[FoldedRows, ...] = ()
    perturbed: Mapping[int, Tensor] = field(default_factory=dict)
    guidance: Tensor | None = None
    clean: Tensor | None = None
    fps: Tensor | None = None
    beside: tuple[Hashable, ...] = ()
    controls: tuple[Control, ...] = ()

    @property
    def batch_size(self) -> int:
        """Rows."""
        return self.mask.shape[0]

    @property
    def text_length(self) -> int:
        """Positions of the text, those that nobody sees too."""
        return self.mask.shape[-1]

    def tensors(self) -> list[Tensor]:
        """Everything that a network reads of it, but for what is folded."""
        own = [each for each in (self.guidance, self.clean, self.fps) if each is not None]
        return [*self.keys, *self.values, self.mask, *self.perturbed.values(), *own]

    def text_of(self, block: int) -> AttendedText:
        """The texts as the cross-attention of a block, by number, sees them."""
        return AttendedText(self.keys[block], self.values[block], self.mask, self.folded[block] if self.folded else ())

    def beside_blocks(self, beside: Beside) -> Mapping[int, Tensor]:
        """What the networks beside a transformer add behind its blocks, together."""
        added: dict[int, Tensor] = {}
        for control in self.controls:
            for block, own in control.network(beside, control).items():
                scaled = own * control.scale[:, None, None].to(own.dtype)
                added[block] = added[block] + scaled if block in added else scaled
        return added

    def only(self, acting: Sequence[bool]) -> Condition:
        """The same rows with some of the controls."""
        return replace(self, controls=tuple(compress(self.controls, acting)))

    def on_map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        """The same rows with the pictures that control changed, ``(B, C, h, w)`` by token, as the latent is."""
        controls = tuple(replace(control, hint=change(control.hint)) for control in self.controls)
        return replace(self, controls=controls) if controls else self

    def perturb(self, layers: Collection[int]) -> Condition:
        """The same rows, with self-attention replaced by the identity in the blocks numbered in ``layers``."""
        every_row = torch.ones(self.batch_size, dtype=torch.bool, device=self.mask.device)
        return replace(self, perturbed=dict.fromkeys(layers, every_row))

    def with_guidance(self, scale: float) -> Condition:
        """The same rows, which tell the network this guidance scale."""
        return replace(self, guidance=torch.full((self.batch_size,), scale, device=self.mask.device))

    def with_clean(self, frames: int) -> Condition:
        """The same rows of clips of so many latent frames, the first of which is given without noise."""
        first = torch.arange(frames, device=self.mask.device) == 0
        return replace(self, clean=first.expand(self.batch_size, -1))

    def with_fps(self, fps: float) -> Condition:
        """The same rows of clips of so many frames a second."""
        return replace(self, fps=torch.full((self.batch_size,), fps, device=self.mask.device))

    def pad(self, length: int) -> Condition:
        """At least ``length`` positions of text; nobody sees the new ones."""
        extra = length - self.text_length
        if extra <= 0:
            return self
        keys, values = (tuple(F.pad(x, (0, 0, 0, extra)) for x in texts) for texts in (self.keys, self.values))
        controls = tuple(replace(control, text=control.text.pad(length)) for control in self.controls)
        return replace(self, keys=keys, values=values, mask=F.pad(self.mask, (0, extra)), controls=controls)

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """Rows one after the other; shorter texts are padded.

        Raises:
            ShapeError: only some of the parts have a guidance scale, clean frames or frames a second, or not all the
                same side networks.
        """
        if len({tuple(control.network for control in part.controls) for part in parts}) > 1:
            raise ShapeError("rows beside different side networks cannot share a call")
        padded = [part.pad(max(part.text_length for part in parts)) for part in parts]
        return Condition(
            keys=tuple(torch.cat(keys) for keys in zip(*(part.keys for part in padded), strict=True)),
            values=tuple(torch.cat(values) for values in zip(*(part.values for part in padded), strict=True)),
            mask=torch.cat([part.mask for part in padded]),
            folded=tuple(map(_in_one_row, zip(*(part.folded for part in parts), strict=False))),
            perturbed={layer: _perturbed_rows(parts, layer) for layer in set().union(*(p.perturbed for p in parts))},
            guidance=_all_or_none([part.guidance for part in parts], "a guidance scale"),
            clean=_all_or_none([part.clean for part in parts], "clean frames"),
            fps=_all_or_none([part.fps for part in parts], "frames a second"),
            beside=_in_order([part.beside or (None,) * part.batch_size for part in parts]),
            controls=tuple(map(Control.cat, zip(*(part.controls for part in padded), strict=True))),
        )


def _in_one_row(parts: Sequence[FoldedRows]) -> FoldedRows:
    return tuple(chain.from_iterable(parts))


def _in_order(parts: Sequence[tuple[Hashable, ...]]) -> tuple[Hashable, ...]:
    rows = tuple(chain.from_iterable(parts))
    return rows if any(rows) else ()


def _perturbed_rows(parts: Sequence[Condition], layer: int) -> Tensor:
    rows = [part.perturbed.get(layer, torch.zeros_like(part.mask[:, 0, 0, 0])) for part in parts]
    return torch.cat(rows)


def _all_or_none(rows: Sequence[Tensor | None], what: str) -> Tensor | None:
    given = [row for row in rows if row is not None]
    if given and len(given) < len(rows):
        raise ShapeError(f"rows with and without {what} cannot share a call; a network reads it or does not")
    return torch.cat(given) if given else None
