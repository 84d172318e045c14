"""Journal against world: what is missing, double or out of order, by id.

`python -m tests.support.faults.check JOURNAL --kafka … --database … --prefix …` prints the findings and ends with
status 1 if there are any.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from tests.support.faults import contracts, world
from tests.support.faults.journal import Entry, Journal
from tests.support.faults.world import Output, World

FACTS = (contracts.ASKED.name, contracts.NOTED.name)
SHOWN = 20


def check(entries: Sequence[Entry], found: World, *, settled: bool = True) -> list[str]:
    """Every finding as a sentence with an id; empty when everything promised holds.

    `settled` also requires that nothing is left to be done: the outbox is empty, every offset committed.
    """
    return [
        *_effects(entries, found),
        *_order(entries, found),
        *_outputs(entries, found),
        *_letters(entries, found),
        *_waiting(entries, found),
        *_inbox(entries, found),
        *_states(entries, found),
        *_rules(entries, found),
        *_due(entries, found),
        *_offsets(entries, found, settled=settled),
        *([f"outbox: {identity} was never published" for identity in found.outbox] if settled else []),
    ]


def _counted(entry: Entry) -> bool:
    return entry.expected == "effect" and entry.topic in FACTS


def _effects(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """Every accepted fact has exactly one effect; nothing else has any."""
    counts = Counter(identity for topic, _, _, identity, _ in found.effects if topic in FACTS)
    wanted = {entry.id: entry for entry in entries if _counted(entry)}
    for identity, entry in wanted.items():
        count = counts.pop(identity, 0)
        if count > 1 or (count == 0 and entry.outcome == "ok"):
            yield f"{identity}: {count} effects instead of 1 ({entry.topic} {entry.key} {entry.seq})"
    for identity in counts:
        yield f"{identity}: an effect that should not be"


def _order(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """The effects of a key on a topic follow the order in which it lies on its partition."""
    wanted: dict[tuple[str, str], list[str]] = defaultdict(list)
    seen: set[str] = set()
    for entry in entries:
        if _counted(entry) and entry.outcome == "ok" and entry.id not in seen:
            seen.add(entry.id)
            wanted[entry.topic, entry.key].append(entry.id)
    given: dict[tuple[str, str], list[str]] = defaultdict(list)
    for topic, key, _, identity, _ in found.effects:
        if identity in seen and identity not in given[topic, key]:
            given[topic, key].append(identity)
    for place, ids in wanted.items():
        present = set(given[place])
        yield from _compared(f"effects of {place[1]} on {place[0]}", [i for i in ids if i in present], given[place])


def _outputs(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """One distinct id per effect; first appearances of a key in the order of its effects."""
    answers = [output for output in found.outputs if output.topic == contracts.ANSWERED.name]
    by_cause: dict[str, set[str]] = defaultdict(set)
    for output in answers:
        by_cause[output.cause].add(output.id)
    effects = [effect for effect in found.effects if effect[0] in FACTS]
    applied = {effect[3] for effect in effects}
    unsent = set(found.outbox)
    for identity in applied:
        if len(by_cause[identity]) != 1 and not unsent:
            yield f"{identity}: {len(by_cause[identity])} distinct answers instead of 1"
    for cause, given in by_cause.items():
        if cause not in applied:
            yield f"{min(given)}: an answer to {cause}, which has no effect"
    causes: dict[str, list[str]] = defaultdict(list)
    for output in _first(answers):
        causes[output.key].append(output.cause)
    by_key: dict[str, list[str]] = defaultdict(list)
    for _, key, _, identity, _ in effects:
        by_key[key].append(identity)
    for key, ids in by_key.items():
        answered = set(causes[key])
        yield from _compared(f"answers of {key}", [i for i in dict.fromkeys(ids) if i in answered], causes[key])
    del entries


def _first(outputs: Sequence[Output]) -> list[Output]:
    """Without the repeats that at-least-once allows."""
    seen: set[str] = set()
    return [output for output in outputs if not (output.id in seen or seen.add(output.id))]  # type: ignore[func-returns-value]


def _compared(what: str, wanted: Sequence[str], given: Sequence[str]) -> Iterator[str]:
    if list(wanted) == list(given):
        return
    at = next((n for n, (a, b) in enumerate(zip(wanted, given, strict=False)) if a != b), min(len(wanted), len(given)))
    yield f"{what}: out of order at {at}: {list(given[at : at + 3])} instead of {list(wanted[at : at + 3])}"


def _letters(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """Each malformed record once, with where it came from and why; nothing else."""
    wanted = {entry.place: entry for entry in entries if entry.expected == "dead" and entry.outcome == "ok"}
    counts = Counter((one.topic, one.partition, one.offset) for one in found.letters)
    reasons = {(one.topic, one.partition, one.offset): one.reason for one in found.letters}
    for place, entry in wanted.items():
        if counts[place] != 1:
            yield f"{place}: {counts[place]} dead letters instead of 1 ({entry.reason})"
        elif reasons[place] != entry.reason:
            yield f"{place}: dead because of {reasons[place]} instead of {entry.reason}"
    for place in counts.keys() - wanted.keys():
        yield f"{place}: a dead letter ({reasons[place]}) that should not be"


def _waiting(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """Exactly what should wait does."""
    wanted = {entry.place for entry in entries if entry.expected == "away" and entry.outcome == "ok"}
    counts = Counter((topic, partition, offset) for topic, partition, offset, _ in found.waiting)
    for place in sorted(wanted):
        if counts[place] != 1:
            yield f"{place}: waits {counts[place]} times instead of once"
    for place in sorted(counts.keys() - wanted):
        yield f"{place}: waits and should not"


def _inbox(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """One row per fact handled and per dead letter; none for what waits."""
    counts = Counter(found.inbox)
    handled = {effect[3] for effect in found.effects if effect[0] in FACTS}
    for identity in handled:
        if counts.pop(identity, 0) != 1:
            yield f"{identity}: handled, and not in the inbox once"
    dead = len({(one.topic, one.partition, one.offset) for one in found.letters})
    if len(counts) != dead:
        known = {entry.id for entry in entries}
        yield f"inbox: {len(counts)} ids beside those handled, {dead} dead letters: {sorted(counts.keys() & known)}"


def _states(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """The highest version stands, nothing stepped down, a tombstone erases."""
    wanted: dict[str, int] = {}
    for entry in entries:
        if entry.expected == "state" and entry.outcome == "ok":
            wanted[entry.key] = max(entry.seq, wanted.get(entry.key, entry.seq))
        elif entry.expected == "tombstone":
            wanted.pop(entry.key, None)
    for key in wanted.keys() | found.states.keys():
        if found.states.get(key) != wanted.get(key):
            yield f"state {key}: version {found.states.get(key)} instead of {wanted.get(key)}"
    erased = {entry.key for entry in entries if entry.expected == "tombstone"}
    last: dict[str, int] = {}
    for key, version in found.steps:
        if key not in erased and version <= last.get(key, -1):
            yield f"state {key}: stepped from {last[key]} to {version}"
        last[key] = version


def _rules(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """The replica has the highest version of each key."""
    wanted: dict[str, int] = {}
    for entry in entries:
        if entry.expected == "rule" and entry.outcome == "ok":
            wanted[entry.key] = max(entry.seq, wanted.get(entry.key, entry.seq))
    for key in wanted.keys() | found.rules.keys():
        if found.rules.get(key) != wanted.get(key):
            yield f"replica {key}: version {found.rules.get(key)} instead of {wanted.get(key)}"


def _due(entries: Sequence[Entry], found: World) -> Iterator[str]:
    """Each timer fired once, none early, all in the ledger; each task has one result."""
    for kind, topic in (("timer", contracts.RANG.name), ("task", contracts.DONE.name)):
        wanted = {entry.id: entry for entry in entries if entry.expected == kind}
        applied = Counter(effect[3] for effect in found.effects if effect[0] == kind)
        told: dict[str, set[str]] = defaultdict(set)
        for output in found.outputs:
            if output.topic == topic:
                told[output.key].add(output.id)
        for identity, entry in wanted.items():
            if applied[identity] != 1 or (len(told[identity]) != 1 and not found.outbox):
                yield f"{kind} {identity}: {applied[identity]} effects, {len(told[identity])} events instead of 1 and 1"
            del entry
        for identity in (applied.keys() | told.keys()) - wanted.keys():
            yield f"{kind} {identity}: nobody asked for it"
    timers = {entry.id: entry for entry in entries if entry.expected == "timer"}
    counts = Counter(key for key, _, _ in found.ledger)
    for identity in timers.keys() | counts.keys():
        if counts[identity] != 1 or identity not in timers:
            yield f"timer {identity}: {counts[identity]} ledger entries instead of 1"
    for key, due_at, fired_at in found.ledger:
        timer = timers.get(key)
        if fired_at < due_at:
            yield f"timer {key}: fired {due_at - fired_at} early"
        if timer is not None and timer.due_at and datetime.fromisoformat(timer.due_at) != due_at:
            yield f"timer {key}: due {due_at} in the ledger instead of {timer.due_at}"
    dues = {key: due_at for key, due_at, _ in found.ledger}
    for topic, _, _, identity, applied_at in found.effects:
        if topic == "timer" and identity in dues and applied_at < dues[identity]:
            yield f"timer {identity}: its handler ran {dues[identity] - applied_at} early"
    yield from (f"timer {identity}: left" for identity in found.timers)
    yield from (f"task {identity}: left" for identity in found.tasks)


def _offsets(entries: Sequence[Entry], found: World, *, settled: bool) -> Iterator[str]:
    """Nothing below a committed offset is unhandled; in the end all are committed."""
    applied = {effect[3] for effect in found.effects}
    away = {(topic, partition, offset) for topic, partition, offset, _ in found.waiting}
    letters = {(one.topic, one.partition, one.offset) for one in found.letters}
    published = not found.outbox
    for entry in entries:
        if (
            entry.outcome == "ok"
            and entry.topic in FACTS
            and entry.offset < found.committed.get((entry.topic, entry.partition), 0)
        ):
            handled = entry.id in applied or entry.place in away or (entry.place in letters or not published)
            if not handled:
                yield f"{entry.place}: below the committed offset and not handled ({entry.id})"
    for place, end in found.ends.items():
        reached = found.committed.get(place, 0)
        if reached > end or (settled and end and reached != end):
            yield f"{place}: offset {reached} committed, the partition ends at {end}"


def told(findings: Sequence[str]) -> str:
    """For people: the first findings and how many there are."""
    more = [f"… and {len(findings) - SHOWN} more"] if len(findings) > SHOWN else []
    return "\n".join([f"{len(findings)} findings", *findings[:SHOWN], *more])


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(description="Compare a journal with what became of it.")
    parser.add_argument("journal", type=Path)
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--database", required=True, help="an administrator's address of the service's database")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--unsettled", action="store_true", help="do not require that nothing is left to be done")
    given = parser.parse_args()
    found = asyncio.run(world.look(given.kafka, given.database, given.prefix))
    findings = check(Journal(given.journal).read(), found, settled=not given.unsettled)
    print(told(findings))  # noqa: T201 - the answer of the program
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
