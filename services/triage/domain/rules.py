"""One version of a tenant's rules, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.contracts.pack import Priorities, Priority
from shared.contracts.pack.triage import Product, Signal, TierRule, TriageRules


@dataclass(frozen=True)
class Rules:
    """One version of a tenant's rules, ready to decide with."""

    triage: TriageRules
    priorities: Priorities
    signals: Mapping[str, Signal] = field(init=False)
    products: Mapping[str, Product] = field(init=False)
    tiers: Mapping[str, TierRule] = field(init=False)
    levels: Mapping[str, Priority] = field(init=False)
    eta: Mapping[str, float] = field(init=False)
    queues: Mapping[str, str] = field(init=False)
    """By priority."""
    address_queues: Mapping[str, str] = field(init=False)
    """By inbound address, folded."""
    read: frozenset[str] = field(init=False)
    """Languages that the rules name a reader for."""

    def __post_init__(self) -> None:
        languages = self.triage.languages
        made: dict[str, Any] = {
            "signals": {signal.name: signal for signal in self.triage.signals},
            "products": {product.name.casefold(): product for product in self.triage.products},
            "tiers": {tier.tier: tier for tier in self.triage.tiers},
            "levels": {level.label.casefold(): level for level in self.priorities.levels},
            "eta": {label.casefold(): minutes for label, minutes in self.triage.eta_minutes.items()},
            "read": frozenset((*languages.general, *languages.queues)),
            "address_queues": {one.casefold(): queue for one, queue in self.triage.address_queues.items()},
            "queues": {label.casefold(): queue for label, queue in self.triage.priority_queues.items()},
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def level(self, label: str | None) -> Priority | None:
        """The priority of that label, whatever its case; None where it is none of the tenant's."""
        return self.levels.get(label.casefold()) if label else None
