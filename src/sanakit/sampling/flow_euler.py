"""Flow-Euler: straight on along the velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sanakit.common.devices import widened
from sanakit.sampling.evaluation import Draw, Evaluation, Solver
from sanakit.sampling.schedules import Schedule, check_settings, flow_euler_schedule

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowEuler:
    """First order in sigma, one network evaluation a step."""

    name: ClassVar[str] = "flow-euler"
    a1111_name: ClassVar[str] = "Flow Euler"
    diffusers_class: ClassVar[str] = "FlowMatchEulerDiscreteScheduler"

    num_steps: int
    flow_shift: float

    def __post_init__(self) -> None:
        check_settings(self.num_steps, self.flow_shift)

    def schedule(self) -> Schedule:
        """The noise levels that it visits."""
        return flow_euler_schedule(self.num_steps, self.flow_shift)

    def start(self, noise: Tensor, draw: Draw, *, start: int = 0, previous: Tensor | None = None) -> Solver:
        """From ``noise`` to picture; from step ``start`` and a latent of that step, where a run is to go on."""
        return flow_euler_solver(noise, self.schedule(), start=start)

    def to_diffusers(self) -> dict[str, Any]:
        """The settings with which diffusers' class does the same; what is left out has its defaults."""
        return {"num_train_timesteps": 1000, "shift": self.flow_shift}


def flow_euler_solver(latent: Tensor, schedule: Schedule, *, start: int = 0) -> Solver:
    """Walk along the velocity."""
    latent = widened(latent)
    for index in schedule.steps(start):
        sigma, next_sigma = schedule.sigmas[index : index + 2]
        velocity = yield Evaluation(latent, sigma, schedule.timesteps[index], index, schedule.num_steps)
        latent = latent + (next_sigma - sigma) * velocity.to(latent.dtype)
    return latent
