"""Paths of one service below those of another: a `*` in a rule stands for one segment."""

from __future__ import annotations

import pytest

from services.console.domain import Rule, below, route

RULES = (
    Rule("/v1/tickets", "tickets", ""),
    Rule("/v1/tickets/*/clocks", "sla", ""),
    Rule("/v1/tickets/export/clocks", "tickets", ""),
)


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v1/tickets", "tickets"),
        ("/v1/tickets/INC-2026-000001", "tickets"),
        ("/v1/tickets/INC-2026-000001/clocks", "sla"),
        ("/v1/tickets/{ticket}/clocks/{clock}/explain", "sla"),
        ("/v1/tickets/INC-2026-000001/clocksmith", "tickets"),
        ("/v1/tickets/INC-2026-000001/messages/clocks", "tickets"),
        ("/v1/tickets//clocks", "tickets"),
        ("/v1/tickets/export/clocks", "tickets"),
        ("/v1/ticket/x/clocks", None),
    ],
)
def test_the_longest_rule_wins_and_a_star_is_exactly_one_segment(path: str, service: str | None) -> None:
    rule = route(path, RULES)
    assert (rule.service if rule else None) == service


def test_a_prefix_without_a_star_ends_at_a_segment() -> None:
    assert below("/v1/tickets/x", "/v1/tickets")
    assert not below("/v1/ticketsx", "/v1/tickets")
