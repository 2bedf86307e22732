"""Golden grids of the published samplers, and what a schedule refuses."""

from __future__ import annotations

import math

import pytest

from sanakit.common.errors import ConfigError
from sanakit.sampling.schedules import Schedule, flow_dpm_schedule, flow_euler_schedule

DPM_GRIDS = {
    (20, 3.0): ".99967 .98242 .96394 .94409 .92272 .89964 .87464 .84746 .81781 .78534 .74962 .71015 .66630 .61728 "
    ".56215 .49967 .42827 .34589 .24979 .13624 0",
    (14, 3.0): ".99967 .97466 .94702 .91631 .88199 .84338 .79963 .74962 .69193 .62464 .54511 .44968 .33307 .18734 0",
    (20, 6.0): ".99983 .99113 .98164 .97124 .95981 .94717 .93313 .91743 .89977 .87977 .85690 .83051 .79973 .76336 "
    ".71971 .66637 .59970 .51399 .39973 .23981 0",
    (20, 4.0): ".99975 .98676 .97271 .95748 .94090 .92279 .90293 .88106 .85684 .82988 .79968 .76563 .72694 .68259 "
    ".63125 .57110 .49969 .41351 .30746 .17376 0",
}
DPM_TIMES_20 = "999 982 963 944 922 899 874 847 817 785 749 710 666 617 562 499 428 345 249 136"
EULER_GRID = (
    "1 .98738 .97411 .96013 .94539 .92982 .91335 .89590 .87738 .85769 .83672 .81432 .79037 .76468 .73706 .70728 "
    ".67508 .64016 .60215 .56063 .51507 .46488 .40929 .34739 .27805 .19983 .11091 .00893 0"
)


def numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]


@pytest.mark.parametrize(("num_steps", "flow_shift"), DPM_GRIDS)
def test_flow_dpm_grid_is_the_published_one(num_steps: int, flow_shift: float) -> None:
    sigmas = flow_dpm_schedule(num_steps, flow_shift).sigmas
    assert sigmas == pytest.approx(numbers(DPM_GRIDS[num_steps, flow_shift]), abs=1e-5)
    assert sigmas[-1] == 0.0


def test_flow_dpm_times_are_truncated_integers() -> None:
    assert list(flow_dpm_schedule(20, 3.0).timesteps) == numbers(DPM_TIMES_20)


def test_grids_of_clips_begin_and_end_as_published() -> None:
    dpm, euler = (build(50, 8.0).sigmas for build in (flow_dpm_schedule, flow_euler_schedule))
    assert (len(dpm), len(euler)) == (51, 51)
    assert (dpm[0], *dpm[-3:]) == pytest.approx((0.99987, 0.24980, 0.14023, 0.0), abs=1e-5)
    assert (*euler[:2], *euler[-3:]) == pytest.approx((1.0, 0.99742, 0.18835, 0.06021, 0.0), abs=1e-5)


def test_flow_euler_grid_is_the_published_one_with_real_times() -> None:
    schedule = flow_euler_schedule(28, 3.0)
    assert schedule.sigmas == pytest.approx(numbers(EULER_GRID), abs=1e-5)
    assert schedule.timesteps == pytest.approx([1000 * sigma for sigma in schedule.sigmas[:-1]])
    assert schedule.timesteps[1] != int(schedule.timesteps[1])


@pytest.mark.parametrize("build", [flow_dpm_schedule, flow_euler_schedule])
def test_one_step_is_a_schedule(build) -> None:
    schedule = build(1, 3.0)
    assert schedule.num_steps == 1
    assert len(schedule.sigmas) == 2


@pytest.mark.parametrize("build", [flow_dpm_schedule, flow_euler_schedule])
@pytest.mark.parametrize(
    ("num_steps", "flow_shift", "words"),
    [(0, 3.0, "num_inference_steps=0"), (-1, 3.0, "at least 1"), (4, 0.0, "flow_shift=0.0"), (4, math.nan, "nan"),
     (4, math.inf, "inf"), (4, -1.0, "above 0"), (4, 1e9, "at most 1000")],
)  # fmt: skip
def test_bad_settings_are_refused_in_one_sentence(build, num_steps: int, flow_shift: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(num_steps, flow_shift)


@pytest.mark.parametrize(
    ("sigmas", "timesteps"),
    [((0.5, 0.0), ()), ((0.5, 0.6, 0.0), (500.0, 600.0)), ((0.5, 0.1), (500.0,)), ((1.5, 0.0), (1500.0,)),
     ((math.nan, 0.0), (0.0,))],
)  # fmt: skip
def test_a_schedule_falls_to_zero(sigmas: tuple[float, ...], timesteps: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError):
        Schedule(sigmas=sigmas, timesteps=timesteps)
