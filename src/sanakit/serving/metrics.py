"""What a server tells Prometheus, under the names of the field with our prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MetricT = TypeVar("MetricT", Counter, Histogram)
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


@dataclass(frozen=True, slots=True)
class _Watched(Collector):
    tell: Callable[[], Metric]

    def collect(self) -> Iterator[Metric]:
        yield self.tell()


class Metrics:
    """Of one server; every value has the label ``model_name``."""

    def __init__(self, model: str) -> None:
        self._model, self.registry = model, CollectorRegistry()
        self.queue_time = self._histogram("queue_time_seconds", "Seconds that pictures waited.")
        self.latency = self._histogram("e2e_request_latency_seconds", "Seconds from a request to its last picture.")
        self.first_preview = self._histogram("time_to_first_preview_seconds", "Seconds to the first preview.")
        self.step_time = self._histogram("step_time_seconds", "Seconds of a step.")
        self.stage_time = self._histogram("stage_time_seconds", "Seconds of a stage of a picture.", "stage")
        self.batch_size = self._histogram("batch_size", "Pictures in lanes, each time that one is finished.")
        self.steps = self._counter("steps", "Steps done.")
        self.images = self._counter("images", "Pictures finished.")
        self.finished = self._counter("request_success", "Requests that ended well.", "finished_reason")
        self.rejected = self._counter("requests_rejected", "Requests that were not done.", "reason")

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A number that is asked for when somebody looks; one whose name ends in ``_total`` only grows."""
        family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily

        def tell() -> Metric:
            metric = family(f"sanakit_{name}", text, labels=["model_name"])
            metric.add_metric([self._model], value())
            return metric

        self.registry.register(_Watched(tell))

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Callable[..., Histogram]:
        metric = Histogram(f"sanakit_{name}", text, ("model_name", *labels), buckets=_BUCKETS, registry=self.registry)
        return self._labelled(metric, labels)

    def _counter(self, name: str, text: str, *labels: str) -> Callable[..., Counter]:
        metric = Counter(f"sanakit_{name}", text, ("model_name", *labels), registry=self.registry)
        return self._labelled(metric, labels)

    def _labelled(self, metric: MetricT, labels: tuple[str, ...]) -> Callable[..., MetricT]:
        """What gives it with its labels; without any of its own it is there from the beginning, as 0."""
        if not labels:
            metric.labels(self._model)
        return lambda *values: metric.labels(self._model, *values)
