"""Rights on the broker follow from the manifest, and nobody has one more."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from cli import access as command
from shared import access, broker
from shared.access import Grant, Operation, Resource
from shared.contracts.manifest import TOPICS, topic
from shared.settings import SettingsError

ALL = access.grants()
NO_SERVICE = {access.PROVISION, access.OPERATOR, access.LAG}


def of(user: str, operation: Operation, resource: Resource = Resource.TOPIC) -> set[str]:
    return {one.name for one in ALL if (one.user, one.operation, one.resource) == (user, operation, resource)}


def test_only_its_owner_writes_a_topic_beside_the_operator_who_replays() -> None:
    for one in TOPICS:
        writers = {grant.user for grant in ALL if grant.name == one.name and grant.operation is Operation.WRITE}
        assert writers - {access.OPERATOR} == {one.owner}
        assert (access.OPERATOR in writers) == bool(one.consumers), "nobody else has dead letters of it"


def test_only_its_consumers_read_a_topic_beside_the_operator() -> None:
    for one in TOPICS:
        readers = {grant.user for grant in ALL if grant.name == one.name and grant.operation is Operation.READ}
        assert readers == {*one.consumers, access.OPERATOR}


def test_a_service_writes_its_own_dead_letters_and_reads_nobodys() -> None:
    for service in access.users():
        if service not in NO_SERVICE:
            letters = {name for name in of(service, Operation.WRITE) if name.startswith("dlq.")}
            assert letters == {f"dlq.{service}.{one.name}" for one in TOPICS if service in one.consumers}
            assert not any(name.startswith("dlq.") for name in of(service, Operation.READ))


def test_a_group_belongs_to_one_service() -> None:
    for service in access.users():
        if service not in NO_SERVICE:
            assert of(service, Operation.READ, Resource.GROUP) <= {service, f"{service}.replica"}
    assert of("directory", Operation.READ, Resource.GROUP) == {"directory"}, "it replicates nothing"


def test_ingest_alone_sees_how_far_another_service_is() -> None:
    described = {(one.user, one.name) for one in ALL if one.operation is Operation.DESCRIBE and one.resource == 3}
    assert {pair for pair in described if pair[0] != access.LAG} == {("ingest", topic("message.received").paced_by)}


def test_who_is_no_service_has_what_his_work_needs() -> None:
    assert not of(access.PROVISION, Operation.READ)
    assert not of(access.PROVISION, Operation.WRITE)
    assert of(access.PROVISION, Operation.CREATE) == of(access.OPERATOR, Operation.READ)
    assert {one.operation for one in ALL if one.user == access.LAG} == {Operation.DESCRIBE}


def test_nobody_makes_a_topic_but_provision_and_nobody_alters_the_cluster() -> None:
    assert {one.user for one in ALL if one.operation is Operation.CREATE} == {access.PROVISION}
    assert {one.resource for one in ALL} == {Resource.TOPIC, Resource.GROUP}


def test_a_prefix_keeps_two_installations_on_one_broker_apart() -> None:
    prefixed = access.grants(prefix="acme.")
    assert all(one.user.startswith("acme.") and one.name.startswith("acme.") for one in prefixed)
    assert len(prefixed) == len(ALL)
    assert access.users(prefix="acme.")[0] == "acme.directory"


def test_a_new_reader_in_the_manifest_is_a_new_right() -> None:
    wider = access.grants([replace(topic("ticket.triaged"), consumers=("search", "tickets"))])
    assert Grant(user="search", resource=Resource.TOPIC, name="ticket.triaged", operation=Operation.READ) in wider - ALL


def test_a_password_is_kept_as_kafka_keeps_it() -> None:
    assert broker.salted("pencil", b"salt") == hashlib.pbkdf2_hmac("sha512", b"pencil", b"salt", broker.ITERATIONS)
    with pytest.raises(ValueError, match="ASCII"):
        broker.salted("pässword", b"salt")


def test_every_missing_password_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in access.users():
        monkeypatch.setenv(f"{user.upper()}_KAFKA_PASSWORD", "x")
    monkeypatch.delenv("SLA_KAFKA_PASSWORD")
    monkeypatch.delenv("LAG_KAFKA_PASSWORD")
    with pytest.raises(SettingsError, match=r"(?s)SLA_KAFKA_PASSWORD.*LAG_KAFKA_PASSWORD"):
        command._passwords("")


def test_rights_can_be_printed_for_somebody_else_to_give() -> None:
    (line,) = command._commands(
        [Grant(user="triage", resource=Resource.TOPIC, name="ticket.triaged", operation=Operation.WRITE)]
    )
    assert line.endswith("--add --allow-principal 'User:triage' --operation Write --topic 'ticket.triaged'")
