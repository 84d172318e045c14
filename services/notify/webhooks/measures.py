"""What webhooks measure of themselves; no label names a tenant."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from services.notify.domain.webhook_delivery import Answer
from shared.metrics import Metrics


class Measures:
    """One process's series."""

    def __init__(self, metrics: Metrics) -> None:
        registry, service = metrics.registry, metrics.service
        self._attempts = Counter(
            "deskwire_webhook_attempts",
            "Attempts by outcome: 2xx, 3xx, 4xx, 5xx, or why there was no answer.",
            ["service", "outcome"],
            registry=registry,
        )
        self._service = service
        self._seconds = Histogram(
            "deskwire_webhook_attempt_seconds", "Time of one attempt.", ["service"], registry=registry
        ).labels(service)
        self.unwritten = Histogram(
            "deskwire_webhook_unwritten_seconds",
            "Between an endpoint's answer and the commit of the result: dying there sends twice.",
            ["service"],
            registry=registry,
        ).labels(service)
        self.expired = Counter(
            "deskwire_webhook_leases_expired",
            "Leases that ended without a result: what they sent may have been sent again.",
            ["service"],
            registry=registry,
        ).labels(service)
        self.given_up = Counter(
            "deskwire_webhook_given_up", "Deliveries no attempt is left for.", ["service"], registry=registry
        ).labels(service)
        self.disabled = Counter(
            "deskwire_webhook_endpoints_disabled", "Endpoints switched off by us.", ["service"], registry=registry
        ).labels(service)

    def attempt(self, answer: Answer, seconds: float) -> None:
        """One attempt ended."""
        outcome = answer.error or "unknown" if answer.status is None else f"{answer.status // 100}xx"
        self._attempts.labels(self._service, outcome).inc()
        self._seconds.observe(seconds)
