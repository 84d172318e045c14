"""What escalation counts beyond what every service does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter

from services.escalation.domain.escalation import Escalation, State
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationStarted,
    EscalationStepped,
    PageCancelled,
    PageRequested,
)
from shared.metrics import Metrics

_KINDS = {
    EscalationStarted: "started",
    EscalationStepped: "stepped",
    EscalationAcknowledged: "acknowledged",
    EscalationEnded: "ended",
    PageRequested: "page_requested",
    PageCancelled: "page_cancelled",
}


class Measures:
    """Series of escalation in the service's registry; no tenant and no person in a label."""

    def __init__(self, metrics: Metrics) -> None:
        self._told = Counter(
            "deskwire_escalation_told",
            "Facts by kind: started, stepped, acknowledged, ended, page_requested, page_cancelled, expired.",
            ["service", "kind"],
            registry=metrics.registry,
        )
        self._unreached = Counter(
            "deskwire_escalation_unreached_steps",
            "Steps that found nobody to page. Alarm on any: a ticket went on without a person knowing.",
            ["service"],
            registry=metrics.registry,
        ).labels(metrics.service)
        self._blind = Counter(
            "deskwire_escalation_blind_steps",
            "Steps told although tickets' watermark had been behind for the whole grace.",
            ["service"],
            registry=metrics.registry,
        ).labels(metrics.service)
        self._service = metrics.service

    def blind(self) -> None:
        """A step was told without knowing everything of its ticket."""
        self._blind.inc()

    def changed(self, escalations: Iterable[Escalation]) -> None:
        """Count what one transaction decided."""
        for one in escalations:
            for fact in one.facts:
                self._told.labels(self._service, _KINDS[type(fact)]).inc()
            if one.state is State.EXPIRED:
                self._told.labels(self._service, "expired").inc()
            self._unreached.inc(one.unreached)


@cache
def of(metrics: Metrics) -> Measures:
    """The series in the registry of `metrics`, always the same: a service that is built again counts on."""
    return Measures(metrics)
