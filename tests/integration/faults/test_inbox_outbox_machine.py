"""A model of inbox and outbox against the real ones: redelivery, lost commits, failing brokers, woken relays."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from shared import outbox
from shared.publish import OutboxRow
from tests.support.faults.contracts import Asked
from tests.support.faults.ground import FakeRecord, Ground, Thread, fact

pytestmark = pytest.mark.engines

FAILURES: dict[str, Callable[[], Exception]] = {
    "connection": lambda: ConnectionResetError("gone"),
    "conflict": lambda: asyncpg.SerializationError("could not serialize"),
}


class Machine(RuleBasedStateMachine):
    """One partition, one group: what is on the topic, how far it was read, what was published."""

    url: str
    thread: Thread

    def __init__(self) -> None:
        super().__init__()
        self.ground = self.thread.run(Ground.connect(self.url))
        self.topic: list[FakeRecord] = []
        self.position = 0
        self.committed = 0
        self.handled: list[tuple[str, UUID]] = []
        self.held: list[OutboxRow] = []

    @rule(key=st.sampled_from("abc"))
    def arrives(self, key: str) -> None:
        offset = len(self.topic)
        self.topic.append(fact(offset, Asked(tenant_id="acme", thing=key, seq=offset)))

    @precondition(lambda self: self.topic)
    @rule(data=st.data())
    def arrives_again(self, data: st.DataObject) -> None:
        """The producer's relay repeated it: same id, another offset."""
        former = data.draw(st.sampled_from(self.topic))
        self.topic.append(fact(len(self.topic), former.event, former.id))

    @precondition(lambda self: self.position < len(self.topic))
    @rule(count=st.integers(1, 6), failure=st.sampled_from([None, None, *FAILURES]))
    def is_handled(self, count: int, failure: str | None) -> None:
        batch = self.topic[self.position : self.position + count]
        if failure:
            self.ground.fail = [FAILURES[failure]()]
        done = self.thread.run(self.ground.handle(batch))
        self.ground.fail = []
        assert [item.record.offset for item in done] == [record.offset for record in batch]
        self.position += len(batch)
        known = {identity for _, identity in self.handled}
        for record in batch:
            if record.id not in known:
                known.add(record.id)
                self.handled.append((record.key.decode(), record.id))

    @rule()
    def offsets_are_committed(self) -> None:
        self.committed = self.position

    @rule()
    def the_process_dies(self) -> None:
        """Whoever goes on begins at the committed offset."""
        self.position = self.committed

    @rule(most=st.none() | st.integers(0, 3), crash=st.booleans())
    def a_round_of_the_relay(self, most: int | None, crash: bool) -> None:
        self.thread.run(self.ground.relay(most=most, crash=crash))

    @precondition(lambda self: not self.held)
    @rule()
    def a_relay_is_stopped_with_rows_in_its_hands(self) -> None:
        rows = self.thread.run(
            self.ground.database.fetch(
                "SELECT id, topic, key, payload, headers, created_at FROM outbox ORDER BY id LIMIT 5"
            )
        )
        self.held = [OutboxRow(*row) for row in rows]

    @precondition(lambda self: self.held)
    @rule()
    def the_stopped_relay_wakes(self) -> None:
        self.ground.broker.log += self.held
        self.held = []

    @invariant()
    def every_fact_has_one_effect_in_order(self) -> None:
        rows = self.thread.run(self.ground.database.fetch("SELECT key, ce_id FROM effect ORDER BY id"))
        assert [(row["key"], row["ce_id"]) for row in rows] == self.handled
        count = self.thread.run(self.ground.database.fetchval("SELECT count(*) FROM inbox"))
        assert count == len(self.handled)

    @invariant()
    def answers_are_on_the_topic_or_still_to_be_sent_in_order_per_key(self) -> None:
        rows = self.thread.run(
            self.ground.database.fetch("SELECT id, topic, key, payload, headers, created_at FROM outbox ORDER BY id")
        )
        first: dict[str, tuple[str, str]] = {}
        for row in [*self.ground.broker.log, *(OutboxRow(*row) for row in rows)]:
            given = dict(outbox.unpack(row.headers, b"/deskwire/faults"))
            first.setdefault(given["ce_id"].decode(), ((row.key or b"").decode(), given["ce_causationid"].decode()))
        for key in "abc":
            causes = [cause for k, cause in first.values() if k == key]
            assert causes == [str(identity) for k, identity in self.handled if k == key], key

    @override
    def teardown(self) -> None:
        try:
            for _ in range(50):
                self.thread.run(self.ground.relay())
                if not self.thread.run(self.ground.database.fetchval("SELECT count(*) FROM outbox")):
                    break
            else:
                raise AssertionError("the outbox is never empty")
            self.answers_are_on_the_topic_or_still_to_be_sent_in_order_per_key()
        finally:
            self.thread.run(self.ground.database.close())


@pytest.mark.parametrize(("examples", "steps"), [(50, 40), pytest.param(400, 50, marks=pytest.mark.soak)])
def test_inbox_and_outbox_do_what_their_model_says(machine_url: str, thread: Thread, examples: int, steps: int) -> None:
    bound = type("Bound", (Machine,), {"url": machine_url, "thread": thread})
    run_state_machine_as_test(
        bound,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=examples < 100,
            # A short run repeats itself exactly and says where it failed; shrinking could take it minutes.
            phases=[Phase.generate] if examples < 100 else list(Phase),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
