"""Policy packs: everything about a desk that is data. directory validates and publishes, others obey.

A pack is YAML; each section is published by itself under `<tenant>/<section>`. Unlike events, a section is read
strictly: an unknown field in a pack is a typing mistake and refused with its line.
"""

from __future__ import annotations

from shared.contracts.pack.assignment import Assignment, Numbering, Strategy
from shared.contracts.pack.calendars import Calendar, Calendars, Holiday, Interval, ZoneOf
from shared.contracts.pack.escalation import (
    Cause,
    EscalationPath,
    EscalationPaths,
    EscalationStep,
    EscalationTrigger,
    PageUrgency,
    ScheduleName,
)
from shared.contracts.pack.notifications import Notifications
from shared.contracts.pack.priorities import Priorities, Priority
from shared.contracts.pack.satisfaction import Satisfaction
from shared.contracts.pack.section import Label, Minutes, Name, Part, Section
from shared.contracts.pack.sla import SlaTargets, Target
from shared.contracts.pack.triage import TriageRules
from shared.contracts.pack.workflow import ClockEffect, Guard, State, StateCategory, Transition, Trigger, Workflow

__all__ = [
    "SECTIONS",
    "Assignment",
    "Calendar",
    "Calendars",
    "Cause",
    "ClockEffect",
    "EscalationPath",
    "EscalationPaths",
    "EscalationStep",
    "EscalationTrigger",
    "Guard",
    "Holiday",
    "Interval",
    "Label",
    "Minutes",
    "Name",
    "Notifications",
    "Numbering",
    "PageUrgency",
    "Part",
    "Priorities",
    "Priority",
    "Satisfaction",
    "ScheduleName",
    "Section",
    "SlaTargets",
    "State",
    "StateCategory",
    "Strategy",
    "Target",
    "Transition",
    "TriageRules",
    "Trigger",
    "Workflow",
    "ZoneOf",
]

SECTIONS: tuple[type[Section], ...] = (
    Workflow,
    Priorities,
    Assignment,
    Numbering,
    TriageRules,
    Calendars,
    SlaTargets,
    EscalationPaths,
    Notifications,
    Satisfaction,
)
"""Every section of a pack, by the name in `SECTION`."""
