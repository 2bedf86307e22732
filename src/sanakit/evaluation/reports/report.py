"""A number, how sure it is, and everything needed to measure it again: as JSON and as a table."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from sanakit.common.version import __version__
from sanakit.evaluation.metrics.bootstrap import NUM_RESAMPLES, Estimate, estimate
from sanakit.scoring.named import NamedNetwork

Setting = str | int | float | bool | None
Better = Literal["higher", "lower"]

MEAN_INTERVAL = f"percentile bootstrap of the mean, {NUM_RESAMPLES} resamples"
_PACKAGES = ("torch", "numpy", "pillow", "transformers")


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One number with the 95 % interval ``low`` to ``high``, which ``interval`` says how was found and of what."""

    name: str
    value: float
    low: float
    high: float
    num_samples: int  # pictures or answers; of the smaller set where there are two
    better: Better
    interval: str
    unit: str = ""

    @property
    def percent(self) -> str:
        """Of a share, with its interval."""
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkUse:
    """A network that measured: its weights as SHA-256 of their tensors, what is done to a picture, and its dtype."""

    name: str
    weights_hash: str
    resize_rule: str
    dtype: str = "float32"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Numbers that were measured together, with the protocol beside them; without a clock, so that runs compare equal.

    ``inputs`` says what was measured (folders with their number of pictures and a hash of the pixels), ``settings``
    what was chosen, ``details`` holds what a table has no room for, ``missing`` the numbers that these samples cannot
    give by name, each with the reason: ``null`` among the measurements of the JSON.
    """

    title: str
    protocol: str
    measurements: tuple[Measurement, ...]
    seed: int
    inputs: Mapping[str, Any]
    settings: Mapping[str, Setting]
    networks: tuple[NetworkUse, ...] = ()
    warnings: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: measured_with())

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self)
        nothing = dict.fromkeys(("value", "low", "high"))
        nulls = ({"name": name, **nothing, "reason": reason} for name, reason in facts.pop("missing").items())
        return {**facts, "measurements": (*facts["measurements"], *nulls)}

    def __getitem__(self, name: str) -> Measurement:
        return next(measurement for measurement in self.measurements if measurement.name == name)


def mean_of(name: str, values: Sequence[float] | Sequence[bool], *, seed: int, unit: str = "") -> Measurement:
    """The mean of independent values as a measurement.

    Raises:
        ConfigError: there are no values.
    """
    return measured(name, estimate(values, seed=seed), unit=unit)


def measured(
    name: str, found: Estimate, *, unit: str = "", interval: str = MEAN_INTERVAL, better: Better = "higher"
) -> Measurement:
    facts = asdict(found)
    return Measurement(name=name, value=facts.pop("mean"), **facts, better=better, interval=interval, unit=unit)


def use_of(network: NamedNetwork) -> NetworkUse:
    return NetworkUse(name=network.name, weights_hash=network.weights_hash, resize_rule=network.resize_rule)


def measured_with() -> dict[str, str]:
    """Versions of what computes the numbers."""
    versions = {"python": platform.python_version(), "sanakit": __version__}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def report_table(report: Report) -> str:
    """The report for a terminal: one line per number, and below it the protocol."""
    width = max([len("measurement"), *(len(_label(each)) for each in report.measurements)])
    lines = [report.title, f"{'measurement':<{width}}  {'value':>10}  {'95 % interval':<24} {'samples':>8}  better"]
    for each in report.measurements:
        interval = f"[{_number(each.low)}, {_number(each.high)}]"
        lines.append(
            f"{_label(each):<{width}}  {_number(each.value):>10}  {interval:<24} {each.num_samples:>8}  {each.better}"
        )
    lines += [f"{name:<{width}}  {'-':>10}  {reason}" for name, reason in report.missing.items()]
    lines += [f"{name}: {_fact(value)}" for name, value in report.inputs.items()]
    lines += [
        f"{network.name}: weights {network.weights_hash[:10]}, {network.dtype}, {network.resize_rule}"
        for network in report.networks
    ]
    settings = {"seed": report.seed, **report.settings}
    lines.append(", ".join(f"{name} {_short(value)}" for name, value in settings.items() if value is not None))
    lines += [f"interval of {names}: {how}" for how, names in _interval_methods(report.measurements).items()]
    lines.append(report.protocol)
    lines.append(", ".join(f"{name} {number}" for name, number in report.versions.items()))
    lines += [f"warning: {text}" for text in report.warnings]
    return "\n".join(lines)


def _interval_methods(measurements: Sequence[Measurement]) -> dict[str, str]:
    methods: dict[str, list[str]] = {}
    for each in measurements:
        methods.setdefault(each.interval, []).append(each.name)
    return {
        how: ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]}" for how, names in methods.items()
    }


def _label(measurement: Measurement) -> str:
    return f"{measurement.name} ({measurement.unit})" if measurement.unit else measurement.name


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(each)}" for name, each in value.items() if each is not None)
    return str(value)


def _short(value: Any) -> str:
    text = str(value)
    return text[:10] if len(text) == 64 and all(mark in "0123456789abcdef" for mark in text) else text
