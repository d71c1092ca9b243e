"""What the server counts, as Prometheus text."""

import prometheus_client

_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
        batch_size: histogram by signature, rows of a run (requests that cannot be merged count 1).
        queue_length: gauge, requests that wait.
    """

    def __init__(self, model):
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)
        self._requests = prometheus_client.Counter(
            "hund_serving_requests", "Requests answered.", ["model", "api", "signature", "status"], registry=self._registry)
        self._latency = prometheus_client.Histogram(
            "hund_serving_latency_seconds", "From a request's arrival to its answer.", ["model", "api", "signature", "status"],
            buckets=_LATENCY_S, registry=self._registry)
        self.batch_size = prometheus_client.Histogram(
            "hund_serving_batch_size", "Rows of a run.", ["signature"], buckets=_BATCH, registry=self._registry)
        self.queue_length = prometheus_client.Gauge(
            "hund_serving_queue_length", "Requests that wait for a thread.", registry=self._registry)
        self._versions = prometheus_client.Gauge(
            "hund_serving_version_loaded", "1 for the version that serves.", ["model", "version"], registry=self._registry)
        self._model = model

    def answered(self, api, signature, status, seconds):
        """Counts a request: "grpc" or "rest", the signature's name ("" if it is none of the model's), status, time."""
        labels = self._model, api, signature, status
        self._requests.labels(*labels).inc()
        self._latency.labels(*labels).observe(seconds)

    def text(self, version):
        """The metrics as text, bytes; `version` is the one that serves, or None."""
        self._versions.clear()
        if version is not None:
            self._versions.labels(self._model, str(version)).set(1)
        return prometheus_client.generate_latest(self._registry)
