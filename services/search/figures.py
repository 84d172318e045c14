"""What search measures of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import Metrics

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Figures:
    """The series of search, in the service's registry."""

    def __init__(self, metrics: Metrics) -> None:
        service, registry = metrics.service, metrics.registry
        self.leader = Gauge(
            "deskwire_search_leader", "1 in the process that writes the index.", ["service"], registry=registry
        ).labels(service)
        self.engine_failures = Counter(
            "deskwire_search_engine_failures",
            "Rounds in which OpenSearch could not be written to.",
            ["service"],
            registry=registry,
        ).labels(service)
        self.refused = Counter(
            "deskwire_search_documents_refused", "Documents OpenSearch does not take.", ["service"], registry=registry
        ).labels(service)
        self._written = Counter(
            "deskwire_search_documents_written", "Documents written.", ["service"], registry=registry
        ).labels(service)
        self._bulk = Histogram(
            "deskwire_search_bulk_seconds",
            "Time to write one batch of documents.",
            ["service"],
            buckets=_SECONDS,
            registry=registry,
        ).labels(service)
        self._dirty = Gauge(
            "deskwire_search_documents_waiting",
            "Documents to be written (counted up to 100,000).",
            ["service"],
            registry=registry,
        ).labels(service)
        self._age = Gauge(
            "deskwire_search_documents_waiting_oldest_seconds",
            "How long the oldest of them has waited.",
            ["service"],
            registry=registry,
        ).labels(service)
        self._refused_now = Gauge(
            "deskwire_search_documents_put_aside",
            "Documents refused and not yet taken since.",
            ["service"],
            registry=registry,
        ).labels(service)
        self._checks = Counter(
            "deskwire_duplicate_checks",
            "New tickets compared with others: full, with the index too; fingerprint, with the last minutes alone.",
            ["service", "kind"],
            registry=registry,
        )
        self.duplicate_lag = Gauge(
            "deskwire_duplicate_check_lag_seconds",
            "From a ticket's arrival here to the end of its check against the index, of the newest one checked.",
            ["service"],
            registry=registry,
        ).labels(service)
        self.duplicate_seconds = Histogram(
            "deskwire_duplicate_check_seconds",
            "The same, of each ticket.",
            ["service"],
            buckets=_SECONDS,
            registry=registry,
        ).labels(service)
        self.refusals = 1
        """How many documents may be put aside, at least one as long as nobody has counted."""
        self._service = service

    def written(self, count: int, seconds: float) -> None:
        """A batch was written."""
        self._written.inc(count)
        self._bulk.observe(seconds)

    def waiting(self, dirty: int, age: float, refused: int) -> None:
        """What the tables say."""
        self._dirty.set(dirty)
        self._age.set(age)
        self._refused_now.set(refused)
        self.refusals = refused

    def checks(self, kind: str, count: int) -> None:
        """So many tickets got that kind of check: `full` or `fingerprint`."""
        self._checks.labels(self._service, kind).inc(count)
