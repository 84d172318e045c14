"""What must hold of every installation at rest, whatever was done to it.

    findings = await violations(Places.of(installation), tenants={desk.tenant}, accepted=ids)
    assert not findings, told(findings)

`python -m tests.support.invariants --help` asks the same of any installation by its addresses.

| invariant | what it says |
|---|---|
| I1 | what was accepted is stored, published, and in exactly one ticket |
| I2 | a message, a decision, a ticket has one effect, however often it was delivered |
| I3 | every breach that is due was told, once, under the id that belongs to it; no other was |
| I4 | every delivery was handed off once, but for declared doubts |
| I5 | the audit chain of every ticket is whole up to the head that the ticket names |
| I6 | the states a ticket went through are joined by arrows of its tenant's workflow |
| I7 | versions only rise along a key, and the newest on the topic is the database's |
| I8 | nothing of one tenant stands with another |
| I9 | the index says of each ticket what the database says |
| I10 | nothing is left to be done: outboxes, waiting keys, tasks and timers that are due |
| I11 | nothing below a committed offset is unhandled, and everything is committed |
"""

from tests.support.invariants.checks import Finding, check, told
from tests.support.invariants.look import Places, Told, look, violations
from tests.support.invariants.world import World

__all__ = ["Finding", "Places", "Told", "World", "check", "look", "told", "violations"]
