"""An iteration: prompts, seeds, pictures, rewards, and what of them is learned from."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from sanakit.common.config import to_mapping
from sanakit.common.ranks import Ranks, wait_for_all
from sanakit.common.seeds import derived_seed
from sanakit.data.prompts import Prompt
from sanakit.kernels.arithmetic import own_arithmetic
from sanakit.models.text.text_condition import TextCondition
from sanakit.pipelines.plan import PicturePlan
from sanakit.pipelines.request import GenerationRequest, VideoRequest
from sanakit.sampling.stochastic import StochasticSolver
from sanakit.scoring.rewards.panel import Panel, means
from sanakit.scoring.rewards.reward import Marks, Shown
from sanakit.training.objectives.advantages import GroupFacts, Spread, group_advantages
from sanakit.training.rollouts.buffer import Buffer, Group, Record
from sanakit.training.rollouts.engine import Engine, Rolled
from sanakit.training.rollouts.prompts import Prompts
from sanakit.training.rollouts.selection import rank_agreement, select
from sanakit.training.rollouts.settings import ExploreConfig, RolloutConfig

SEED_BITS = 31


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A picture that is learned from: its group, its number among those in full precision, and how it compares."""

    group: Group
    picture: int
    reward: float
    advantage: float


@dataclass(frozen=True, slots=True, eq=False)
class Iteration:
    """What was rolled out: the pictures that are learned from, and numbers for the log."""

    number: int
    kept: Sequence[Kept]
    facts: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class MadeGroup:
    """The pictures of a prompt before they are written: latents ``(K, S, C, h, w)``, text and records."""

    paths: Tensor
    text: TextCondition
    records: list[Record]


Elsewhere = Callable[[int, Sequence[int]], Iterator[tuple[int, MadeGroup]]]
"""An iteration and numbers of groups, to these groups as they are made on other machines."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Maker:
    """Makes iterations; every process its share of the groups, and all of them read all.

    Attributes:
        engine: makes pictures in full precision.
        explorer: makes candidates, where there is exploration.
        sampler: the solver of an iteration with noise of its own, by its number; None where requests name it.
        stamp: of settings: groups that were made with others are not taken.
        elsewhere: makes the groups in this process's place.
    """

    seed: int
    prompts: Prompts
    panel: Panel
    engine: Engine
    buffer: Buffer
    ranks: Ranks
    config: RolloutConfig
    explore: ExploreConfig | None = None
    explorer: Engine | None = None
    sampler: Callable[[int], StochasticSolver] | None = None
    spread: Spread = "all"
    stamp: str = ""
    elsewhere: Elsewhere | None = None
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def iteration(self, number: int) -> Iteration:
        """Of the weights that the engines have now; groups that are there already are taken as they are."""
        self.seconds.clear()
        stamp = f"{self.stamp} {self.engine.revision}"
        if self.explorer is not None:
            assert self.explorer.revision == self.engine.revision, "the explorer is stale"
        mine = range(self.config.prompts)[self.ranks.rank :: self.ranks.world]
        missing = [group for group in mine if self.buffer.find(number, group, stamp) is None]
        for group, made in (self.elsewhere or self.groups)(number, missing) if missing else ():
            self.buffer.write((number, group), stamp, made.paths, made.text, made.records)
        wait_for_all(self.ranks)
        found = [self.buffer.find(number, group, stamp) for group in range(self.config.prompts)]
        groups = [group for group in found if group is not None]
        assert len(groups) == self.config.prompts
        return self._compared(number, groups)

    def groups(self, iteration: int, numbers: Sequence[int]) -> Iterator[tuple[int, MadeGroup]]:
        """Made here, by the weights that the engines have; rewards look at one while the next is drawn."""
        waiting: list[tuple[int, Future[MadeGroup]]] = []
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rewards") as pool:
            for number in numbers:
                waiting.append((number, self._begin(pool, iteration, number)))
                if len(waiting) > 1:
                    first, made = waiting.pop(0)
                    yield first, made.result()
            for number, made in waiting:
                yield number, made.result()

    def prompt(self, iteration: int, group: int) -> Prompt:
        return self.prompts[iteration * self.config.prompts + group]

    def _begin(self, pool: ThreadPoolExecutor, iteration: int, group: int) -> Future[MadeGroup]:
        """Make the pictures of a group; rewards look at them while those of the next one are made."""
        prompt, config, explored = self.prompt(iteration, group), self.config, list[Record]()
        wanted = config.candidates if self.explore is None else self.explore.candidates
        seeds = [derived_seed(self.seed, iteration, group, number, bits=SEED_BITS) for number in range(wanted)]
        sampler = None if self.sampler is None else self.sampler(iteration)
        if self.explore is not None:
            engine = self.explorer or self.engine
            plans = self._plans(engine, prompt, seeds, steps=self.explore.steps)
            rolled = self._timed("explore", engine, plans)
            explored = pool.submit(self._records, (iteration, group), prompt, plans, rolled, engine).result()
            rewards = self.panel.totals([record["marks"] for record in explored])
            chosen = select(rewards, config.candidates, self.explore.select, seed=seeds[0])
            seeds = [seeds[number] for number in chosen]
        plans = self._plans(self.engine, prompt, seeds, sampler)
        rolled = self._timed("roll_out", self.engine, plans, keep_path=sampler is not None)
        text = self._text(plans[0])

        def scored() -> MadeGroup:
            place = (iteration, group)
            records = explored + self._records(place, prompt, plans, rolled, self.engine, stage="full")
            return MadeGroup(torch.stack([each.path for each in rolled]), text, records)

        return pool.submit(scored)

    def plans_of(self, iteration: int) -> list[PicturePlan]:
        """What an iteration's first picture would be, as its only one."""
        sampler = None if self.sampler is None else self.sampler(iteration)
        return self._plans(self.engine, self.prompt(iteration, 0), [0], sampler)

    def plans_for(self, prompt: Prompt, seeds: Sequence[int]) -> list[PicturePlan]:
        """Pictures as rollouts in full precision are, without noise in their steps."""
        return self._plans(self.engine, prompt, seeds)

    def _plans(
        self,
        engine: Engine,
        prompt: Prompt,
        seeds: Sequence[int],
        sampler: StochasticSolver | None = None,
        *,
        steps: int | None = None,
    ) -> list[PicturePlan]:
        config = self.config
        asked = {
            "num_inference_steps": steps or config.steps,
            "solver": config.solver if sampler is None else sampler.name,
            "flow_shift": config.flow_shift,
            "guidance_scale": config.guidance_scale,
            "use_instruction": config.use_instruction,
            "num_frames": config.frames,
            "fps": config.fps,
        }
        said = {name: value for name, value in asked.items() if value is not None}
        kind = VideoRequest if engine.pipeline.makes_clips else GenerationRequest
        return engine.plans([kind(prompt=prompt.text, seed=seed, **said) for seed in seeds], sampler)

    def _timed(
        self, what: str, engine: Engine, plans: Sequence[PicturePlan], *, keep_path: bool = False
    ) -> list[Rolled]:
        start = time.perf_counter()
        rolled = engine.make(plans, keep_path=keep_path)
        self.seconds[what] += time.perf_counter() - start
        return rolled

    def _text(self, plan: PicturePlan) -> TextCondition:
        encode = self.engine.pipeline.bundle.text_encoder.encode_one
        text = encode(plan.told, plan.request.use_instruction)
        return TextCondition(text.embeds.cpu(), text.mask.cpu())

    def _records(
        self,
        place: tuple[int, int],
        prompt: Prompt,
        plans: Sequence[PicturePlan],
        rolled: Sequence[Rolled],
        engine: Engine,
        *,
        stage: str = "explore",
    ) -> list[Record]:
        start = time.perf_counter()
        images, seeds = [each.image for each in rolled], [each.seed for each in rolled]
        looked = self._look(images, prompt, seeds)
        self.seconds["reward"] += time.perf_counter() - start
        same = {
            "iteration": place[0], "group": place[1], "prompt": prompt.text, "told": plans[0].told,
            "metadata": json.dumps(prompt.known), "stage": stage, "precision": engine.precision,
            "sampler": json.dumps({"type": plans[0].solver.name, **to_mapping(plans[0].solver)}),
            "sigmas": list(plans[0].solver.schedule().sigmas), "revision": engine.revision,
        }  # fmt: skip
        return [
            {**same, "seed": seed, "marks": marks, "facts": facts}
            for seed, (marks, facts) in zip(seeds, looked, strict=True)
        ]

    def _look(
        self, images: Sequence[Shown], prompt: Prompt, seeds: Sequence[int]
    ) -> list[tuple[Marks, dict[str, Any]]]:
        with torch.no_grad(), own_arithmetic():
            return self.panel.look(images, [prompt.text] * len(images), [prompt.known] * len(images), seeds)

    def _compared(self, number: int, groups: Sequence[Group]) -> Iteration:
        """Rewards of all pictures in full precision; of those that are kept, advantages within their groups."""
        everyone = [record for group in groups for record in group.full]
        for record, total in zip(everyone, self.panel.totals([each["marks"] for each in everyone]), strict=True):
            record["reward"] = total
        chosen = [(group, picture) for group in groups for picture in self._chosen(number, group)]
        rewards = [group.full[picture]["reward"] for group, picture in chosen]
        texts = [group.records[0]["prompt"] for group, _ in chosen]
        advantages, facts = group_advantages(torch.tensor(rewards, dtype=torch.float64), texts, spread=self.spread)
        kept = [
            Kept(group, picture, reward, advantage)
            for (group, picture), reward, advantage in zip(chosen, rewards, advantages.tolist(), strict=True)
        ]
        for each in kept:
            each.group.full[each.picture].update(advantage=each.advantage, kept=True)
        if self.ranks.is_first:
            self.buffer.record(number, [_as_row(record) for group in groups for record in group.records])
            self.buffer.forget(number)
        return Iteration(number, kept, self._told(groups, everyone, facts))

    def _chosen(self, number: int, group: Group) -> list[int]:
        rewards = [record["reward"] for record in group.full]
        seed = derived_seed(self.seed, number, group.records[0]["group"])
        return sorted(select(rewards, self.config.kept, self.config.select, seed=seed))

    def _told(self, groups: Sequence[Group], everyone: Sequence[Record], facts: GroupFacts) -> dict[str, float]:
        told = {
            "reward": fmean(record["reward"] for record in everyone),
            "constant_groups": facts.constant_share,
            "group_deviation": facts.mean_deviation,
            **{f"reward/{part}": mean for part, mean in means([record["marks"] for record in everyone]).items()},
            **{f"seconds/{what}": spent for what, spent in self.seconds.items()},
        }
        if self.explore is not None:
            told |= self._agreement(groups)
        return told

    def _agreement(self, groups: Sequence[Group]) -> dict[str, float]:
        """Of ranks by rewards in exploration and in full, of the seeds that have both: within each prompt whose rewards
        differ, the mean; and of all pictures together."""
        pairs = [self._both(group) for group in groups]
        within = [each for pair in pairs if (each := rank_agreement(*pair)) is not None]
        overall = rank_agreement(*([each for part in side for each in part] for side in zip(*pairs, strict=True)))
        told = {"rank_agreement": fmean(within)} if within else {}
        return told if overall is None else {**told, "rank_agreement/all": overall}

    def _both(self, group: Group) -> tuple[list[float], list[float]]:
        explored = {record["seed"]: record["marks"] for record in group.records if record["stage"] == "explore"}
        seen = self.panel.totals([explored[record["seed"]] for record in group.full])
        return seen, [record["reward"] for record in group.full]


def _as_row(record: Record) -> Record:
    texts = {name: json.dumps(record[name]) for name in ("marks", "facts")}
    return {"reward": None, "advantage": None, "kept": False, **record, **texts}
