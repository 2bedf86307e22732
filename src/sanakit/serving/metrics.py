"""What a server tells Prometheus, under the names of the field with our prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

MetricT = TypeVar("MetricT", Counter, Histogram)
_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


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
        """A number that is asked for when somebody looks."""
        gauge = Gauge(f"sanakit_{name}", text, ("model_name",), registry=self.registry)
        gauge.labels(self._model).set_function(value)

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
