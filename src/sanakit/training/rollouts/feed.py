"""Micro-batches of rollouts, by number: an iteration is made when its first one is taken, from the weights of then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from sanakit.common.errors import ConfigError
from sanakit.common.seeds import derived_seed
from sanakit.models.text.text_condition import TextCondition
from sanakit.training.rollouts.maker import Iteration, Kept, Maker
from sanakit.training.step.feeds import Feed, StepPlan


@dataclass(frozen=True, slots=True)
class Learned:
    """What a loss sees of some pictures.

    Attributes:
        latent: the clean one, or of a step of the rollout that before it, ``(B, C, h, w)``.
        following: that after it; of clean ones the same again.
        text: as the network was told it.
        advantage: ``(B,)``, float32.
        sigma: the noise level to learn at, ``(B,)``; of a step of the rollout, where it begins.
        time: what the network was told there in the rollout, ``(B,)``.
        step, iteration: its number and that of the iteration, scalars.
    """

    latent: Tensor
    following: Tensor
    text: TextCondition
    advantage: Tensor
    sigma: Tensor
    time: Tensor
    step: Tensor
    iteration: Tensor


@dataclass(frozen=True, slots=True)
class RolledBatch:
    """A micro-batch, and numbers of its iteration for the log."""

    learned: Learned
    facts: Mapping[str, float] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> RolledBatch:
        own = self.learned
        text = TextCondition(own.text.embeds.to(device), own.text.mask.to(device))
        latent, following, advantage, sigma, time = (
            each.to(device) for each in (own.latent, own.following, own.advantage, own.sigma, own.time)
        )
        learned = Learned(latent, following, text, advantage, sigma, time, own.step, own.iteration)
        return RolledBatch(learned, self.facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """How an iteration is cut into micro-batches.

    Every picture is learned from ``passes`` times: at as many noise levels, or in as many steps of its rollout. The
    passes of a micro-batch's pictures follow each other.

    Attributes:
        samples: pictures of an iteration.
        batch_size: of a micro-batch; the last ones of an iteration may have fewer.
        passes: of each picture.
        steps: of the rollout, that are learned from; () where clean latents are.
        sigmas, times: the noise levels of the rollout, without 0, and what the network is told at each.
    """

    samples: int
    batch_size: int
    passes: int
    steps: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def num_batches(self) -> int:
        """Micro-batches of an iteration."""
        return -(-self.samples // self.batch_size) * self.passes

    def accumulation(self, updates: int, world: int) -> int:
        """Micro-batches of a step on one process.

        Raises:
            ConfigError: the micro-batches of an iteration cannot be shared so.
        """
        each, rest = divmod(self.num_batches, updates * world)
        if rest:
            raise ConfigError(
                f"an iteration has {self.num_batches} micro-batches ({self.samples} pictures in batches of "
                f"{self.batch_size}, {self.passes} times each), which {updates} updates on {world} process"
                f"{'es' * (world > 1)} cannot share; change updates: or batch_size:"
            )
        return each


class Rollouts(Feed[RolledBatch]):
    """An endless stream of iterations.

    A checkpoint within an iteration holds the weights that made it, so it is found or made again to the bit.

    Args:
        renew: called with the number of an iteration before it is rolled out: the weights of rollouts may follow the
            trained ones; called on every process.
        refresh: gives the engine these weights; called before anything is made or looked for.
    """

    num_batches = None

    def __init__(
        self,
        maker: Maker,
        layout: Layout,
        *,
        seed: int,
        steps_of: Callable[[int], tuple[int, ...]],
        renew: Callable[[int], None],
        refresh: Callable[[], None],
    ) -> None:
        self.maker, self.layout, self.seed = maker, layout, seed
        self._steps_of, self._renew, self._refresh = steps_of, renew, refresh
        self._present: Iteration | None = None

    def num_samples(self, number: int) -> int:
        first = self._chunk(number) * self.layout.batch_size
        return min(self.layout.batch_size, self.layout.samples - first)

    def take(self, plan: StepPlan) -> list[RolledBatch]:
        number, offset = divmod(plan.position, self.layout.num_batches)
        if offset == 0:
            self._renew(number)
            self._present = None
        if self._present is None or self._present.number != number:
            self._refresh()
            self._present = self.maker.iteration(number)
        return [self._batch(self._present, each) for each in plan.numbers]

    def _chunk(self, number: int) -> int:
        return number % self.layout.num_batches // self.layout.passes

    def _batch(self, iteration: Iteration, number: int) -> RolledBatch:
        layout, turn = self.layout, number % self.layout.passes
        order = _permutation(derived_seed(self.seed, "order", iteration.number), len(iteration.kept))
        first = self._chunk(number) * layout.batch_size
        chosen = [(place, iteration.kept[place]) for place in order[first : first + layout.batch_size]]
        kept = [each for _, each in chosen]
        steps = self._steps_of(iteration.number)
        if steps:
            step = steps[turn]
            pairs = torch.stack([each.group.latents(each.picture, step, step + 2) for each in kept])  # (B, 2, C, h, w)
            latent, following = pairs.unbind(1)
            levels = [step] * len(kept)
        else:
            step = 0
            latent = following = torch.stack([each.group.last_latent(each.picture) for each in kept])
            levels = [self._level(iteration.number, place, turn) for place, _ in chosen]
        advantage = torch.tensor([each.advantage for each in kept])
        sigma, time = (torch.tensor([values[level] for level in levels]) for values in (layout.sigmas, layout.times))
        place = torch.tensor(step), torch.tensor(iteration.number)
        return RolledBatch(Learned(latent, following, _texts(kept), advantage, sigma, time, *place), iteration.facts)

    def _level(self, iteration: int, place: int, turn: int) -> int:
        """Each picture meets the levels in an order of its own."""
        order = _permutation(derived_seed(self.seed, "levels", iteration, place), len(self.layout.sigmas))
        return order[turn % len(order)]


def _permutation(seed: int, length: int) -> list[int]:
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed)).tolist()


def _texts(kept: Sequence[Kept]) -> TextCondition:
    """The text of each, filled up with zeros to the longest."""
    texts = [each.group.text() for each in kept]
    length = max(text.mask.shape[1] for text in texts)
    embeds = [F.pad(text.embeds.float(), (0, 0, 0, length - text.embeds.shape[1])) for text in texts]
    masks = [F.pad(text.mask, (0, length - text.mask.shape[1])) for text in texts]
    return TextCondition(torch.cat(embeds), torch.cat(masks))
