"""What ingest counts beyond what every service does."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence
from functools import cache

from prometheus_client import Counter, Histogram

from services.ingest.domain import Draft, Outcome, Status
from shared.metrics import Metrics

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Measures:
    """Series of ingest in the service's registry; no tenant and no person in a label."""

    def __init__(self, metrics: Metrics) -> None:
        own = metrics.registry
        self._messages = Counter(
            "deskwire_ingest_messages",
            "Messages handed over, by channel and what became of them: accepted, duplicate, conflict.",
            ["service", "channel", "outcome"],
            registry=own,
        )
        self._quarantined = Counter(
            "deskwire_ingest_quarantined",
            "Messages that could not be read.",
            ["service", "reason"],
            registry=own,
        )
        self._refused = Counter(
            "deskwire_ingest_refused", "Mails answered 4xx or 5xx, by reason.", ["service", "reason"], registry=own
        )
        self.parse_seconds = Histogram(
            "deskwire_ingest_parse_seconds", "Time to parse one mail.", ["service"], buckets=_SECONDS, registry=own
        ).labels(metrics.service)
        self._service = metrics.service

    def stored(self, drafts: Sequence[Draft], outcomes: Sequence[Outcome]) -> None:
        """Count what one transaction stored."""
        tally = Tally((d.channel.value, o.status.value) for d, o in zip(drafts, outcomes, strict=True))
        for (channel, became), count in tally.items():
            self._messages.labels(self._service, channel, became).inc(count)
        for draft, outcome in zip(drafts, outcomes, strict=True):
            if draft.quarantine is not None and outcome.status is Status.ACCEPTED:
                self._quarantined.labels(self._service, draft.quarantine).inc()

    def refused(self, reason: str) -> None:
        """Count one refusal by SMTP."""
        self._refused.labels(self._service, reason).inc()


@cache
def of(metrics: Metrics) -> Measures:
    """The series in the registry of `metrics`, always the same: a service that is built again counts on."""
    return Measures(metrics)
