"""Memory plans of the published sizes at 1024 px: what a step of training needs, by optimizer.

    python benchmarks/memory_plans.py [--batch-size 1] [--json plans.json]

The paper's figures for the 1.6B model are 57 GB with AdamW and 43 GB with CAME-8bit (SANA-1.5, arXiv:2501.18427), at
settings that it does not state; what can be compared is their difference.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from sanakit.common.byte_counts import readable_bytes
from sanakit.models.presets import LINEAR_DIT_PRESETS
from sanakit.models.transformers.linear_dit import LinearDiT
from sanakit.training.memory.memory_plan import plan_memories
from sanakit.training.memory.step_memory import StepSettings, Workload
from sanakit.training.optimizers.config import AdamWConfig, CAME8BitConfig, CAMEConfig
from sanakit.training.recipes.transformer.plan import latent_loss

PRESETS = ("sana-600m-1024", "sana1.5-1600m-1024", "sana1.5-4800m-1024")
OPTIMIZERS = (AdamWConfig(), CAMEConfig(), CAME8BitConfig())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=1, help="samples of a micro-batch")
    parser.add_argument("--json", type=Path, help="also write the plans here")
    options = parser.parse_args()
    plans = []
    print(
        f"{'preset':<20} {'optimizer':<9} {'recomputed':<10} {'weights':>9} {'gradients':>9} {'optimizer':>9} "
        f"{'average':>9} {'activations':>11} {'total':>9}"
    )
    for name in PRESETS:
        with torch.device("meta"):
            model = LinearDiT(LINEAR_DIT_PRESETS[name])
        for optimizer in OPTIMIZERS:
            loss = latent_loss(side=32, num_tokens=300)
            work = Workload(name=name, model=model, loss=loss, optimizer=optimizer, device="cuda")
            for recomputed in (False, True):
                settings = StepSettings(batch_size=options.batch_size, activation_checkpointing=recomputed)
                [plan] = plan_memories([work], [settings])
                plans.append({"preset": name, "optimizer": optimizer.type, **asdict(plan), "total": plan.total})
                sizes = (plan.weights, plan.gradients, plan.optimizer, plan.ema)
                print(
                    f"{name:<20} {optimizer.type:<9} {'yes' if recomputed else 'no':<10} "
                    + " ".join(f"{readable_bytes(size):>9}" for size in sizes)
                    + f" {readable_bytes(plan.activations):>11} {readable_bytes(plan.total):>9}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(plans, indent=1))


if __name__ == "__main__":
    main()
