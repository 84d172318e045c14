"""What the service under fault reads and publishes."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.event import Event, Topic


class Asked(Event):
    """A fact to be counted; `kind` says what handling it is like."""

    TYPE: ClassVar[str] = "fault.asked.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    seq: int
    kind: str = "plain"
    """plain, parent, child, poison, slow, timer or task."""
    about: str = ""
    """The parent that this is, or that this waits for."""
    pause: float = 0.0
    """Seconds: how slow, how long until the timer, how long the task takes."""


class AskedV2(Asked):
    """The version that only a later release knows."""

    TYPE: ClassVar[str] = "fault.asked.v2"


class Noted(Asked):
    """A fact about the same things on a topic of its own."""

    TYPE: ClassVar[str] = "fault.noted.v1"


class State(Event):
    """The newest state of a thing, on a compacted topic."""

    TYPE: ClassVar[str] = "fault.state.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    version: int


class Rule(Event):
    """Reference data, read through the replica."""

    TYPE: ClassVar[str] = "fault.rule.v1"
    KEY: ClassVar[str] = "name"

    name: str
    version: int


class Answered(Event):
    """Published for each fact counted."""

    TYPE: ClassVar[str] = "fault.answered.v1"
    KEY: ClassVar[str] = "thing"

    thing: str
    seq: int


class Rang(Event):
    """Published by each timer that fires."""

    TYPE: ClassVar[str] = "fault.rang.v1"
    KEY: ClassVar[str] = "thing"

    thing: str


class Done(Event):
    """Published with the result of each task."""

    TYPE: ClassVar[str] = "fault.done.v1"
    KEY: ClassVar[str] = "thing"

    thing: str


def _topic(event: type[Event], *more: type[Event], owner: str = "other", compacted: bool = False) -> Topic:
    name = event.TYPE.rpartition(".")[0]
    return Topic(name=name, owner=owner, consumers=(), events=(event, *more), summary="For tests.", compacted=compacted)


ASKED = _topic(Asked)
ASKED_LATER = _topic(Asked, AskedV2)
NOTED = _topic(Noted)
STATE = _topic(State, compacted=True)
RULE = _topic(Rule, compacted=True)
ANSWERED = _topic(Answered, owner="faults")
RANG = _topic(Rang, owner="faults")
DONE = _topic(Done, owner="faults")
TOPICS = (ASKED, NOTED, STATE, RULE, ANSWERED, RANG, DONE)

SCHEMA = """
    CREATE TABLE effect (
        id bigint GENERATED ALWAYS AS IDENTITY, topic text, key text, seq int, ce_id uuid, applied_at timestamptz
    );
    CREATE TABLE known (name text PRIMARY KEY);
    CREATE TABLE state (key text PRIMARY KEY, version bigint NOT NULL);
    CREATE TABLE state_step (id bigint GENERATED ALWAYS AS IDENTITY, key text, version bigint);
    CREATE TABLE repaired (only_row boolean PRIMARY KEY DEFAULT true);
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
"""
"""`effect` and `state_step` have no unique key on purpose: whatever is handled twice is counted twice."""
