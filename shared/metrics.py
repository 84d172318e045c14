"""What every service measures of itself: one Prometheus registry per service, no tenant and no person in a label."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


class Metrics:
    """The standard series of one service.

    Every series has the label `service`, so that several services in one process can be shown on one page.
    """

    def __init__(self, service: str, registry: CollectorRegistry | None = None) -> None:
        self.service = service
        self.registry = registry if registry is not None else CollectorRegistry()
        own = self.registry
        self._lag = Gauge(
            "deskwire_bus_lag_events",
            "Events of a partition not yet handled.",
            ["service", "topic", "partition"],
            registry=own,
        )
        self._handler = Histogram(
            "deskwire_handler_seconds",
            "Time a handler took for one batch of one topic.",
            ["service", "topic"],
            buckets=_FAST,
            registry=own,
        )
        self._events = Counter(
            "deskwire_bus_events",
            "Events by what became of them: handled, duplicate, waiting, parked, dead.",
            ["service", "topic", "outcome"],
            registry=own,
        )
        self._dead = Counter(
            "deskwire_dead_letters",
            "Malformed events put on a dead-letter topic.",
            ["service", "topic", "reason"],
            registry=own,
        )
        self._retries = Counter(
            "deskwire_bus_retries",
            "Batches run again, by kind: transient, conflict, split.",
            ["service", "kind"],
            registry=own,
        )
        self._waiting = Gauge(
            "deskwire_waiting_keys",
            "Keys that may not go on, by reason of their first event.",
            ["service", "reason"],
            registry=own,
        )
        self._waiting_age = Gauge(
            "deskwire_waiting_oldest_seconds",
            "How long the oldest such key has waited.",
            ["service", "reason"],
            registry=own,
        )
        self.batch_size = Histogram(
            "deskwire_bus_batch_events", "Events per batch.", ["service"], buckets=_COUNTS, registry=own
        ).labels(service)
        self.bus_stopped = Gauge(
            "deskwire_bus_stopped", "1 when the bus stopped because too much failed.", ["service"], registry=own
        ).labels(service)
        self.waiting_alarm = Gauge(
            "deskwire_waiting_alarm_keys",
            "Keys that have waited for more than five minutes.",
            ["service"],
            registry=own,
        ).labels(service)
        self.outbox_rows = Gauge(
            "deskwire_outbox_rows", "Rows to be published (counted up to 100,000).", ["service"], registry=own
        ).labels(service)
        self.outbox_age = Gauge(
            "deskwire_outbox_age_seconds", "Age of the oldest row to be published.", ["service"], registry=own
        ).labels(service)
        self.relay_leader = Gauge(
            "deskwire_relay_leader", "1 in the process whose relay publishes.", ["service"], registry=own
        ).labels(service)
        self.relay_batch = Histogram(
            "deskwire_relay_batch_events", "Events published in one round.", ["service"], buckets=_COUNTS, registry=own
        ).labels(service)
        self.relay_latency = Histogram(
            "deskwire_relay_latency_seconds",
            "From the start of the transaction to the broker's acknowledgement; oldest of each round.",
            ["service"],
            buckets=_FAST,
            registry=own,
        ).labels(service)
        self.relay_failures = Counter(
            "deskwire_relay_failures", "Rounds in which something could not be published.", ["service"], registry=own
        ).labels(service)

    def lag(self, topic: str, partition: int) -> Gauge:
        """Lag of one partition."""
        return self._lag.labels(self.service, topic, str(partition))

    def forget_lag(self, topic: str, partition: int) -> None:
        """Stop reporting a partition that another instance has taken over."""
        try:
            self._lag.remove(self.service, topic, str(partition))
        except KeyError:
            return

    def handler_seconds(self, topic: str) -> Histogram:
        """Handler time of one topic."""
        return self._handler.labels(self.service, topic)

    def events(self, topic: str, outcome: str) -> Counter:
        """Events of one topic with one outcome."""
        return self._events.labels(self.service, topic, outcome)

    def dead_letters(self, topic: str, reason: str) -> Counter:
        """Dead letters of one topic, by reason."""
        return self._dead.labels(self.service, topic, reason)

    def retries(self, kind: str) -> Counter:
        """Batches run again."""
        return self._retries.labels(self.service, kind)

    def waiting_keys(self, reason: str) -> Gauge:
        """Keys waiting for one reason."""
        return self._waiting.labels(self.service, reason)

    def waiting_oldest(self, reason: str) -> Gauge:
        """Seconds the oldest of them has waited."""
        return self._waiting_age.labels(self.service, reason)


@cache
def for_service(service: str) -> Metrics:
    """The series of a service in this process, always the same: what its parts measure and `/metrics` shows."""
    return Metrics(service)
