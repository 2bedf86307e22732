"""Where a run is: the few numbers from which it continues."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class RunState:
    """Counted over all sittings; ``position`` is the number of micro-batches that this stage has taken."""

    step: int = 0
    samples: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the first process, all its threads
    stage: int = 0
    stage_step: int = 0
    position: int = 0
    stage_seconds: float = 0.0
    data: dict[str, dict[str, str]] = field(default_factory=dict)  # fingerprints of what was trained on, by whose it is
    length: dict[str, float | None] = field(default_factory=dict)  # of the stage, as it was when its rate was last set
    learned: list[str] = field(default_factory=list)  # trainees whose weights a save of the stage found changed
    window: dict[str, Any] = field(default_factory=dict)  # what the next line of the log has so far; the logger's own

    def count_step(self, microbatches: int, samples: int) -> None:
        self.step += 1
        self.stage_step += 1
        self.position += microbatches
        self.samples += samples

    def count_seconds(self, seconds: float, cpu: float) -> None:
        self.seconds += seconds
        self.cpu_seconds += cpu
        self.stage_seconds += seconds

    def next_stage(self) -> None:
        self.stage += 1
        self.stage_step = self.position = 0
        self.stage_seconds, self.length, self.learned = 0.0, {}, []

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
