"""How far behind the bus is, per partition."""

from __future__ import annotations

import time
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.metrics import Metrics

EVERY = 1.0
"""Seconds between two reports: a gauge per batch would cost more than it tells."""


class Lag:
    """Reports end of partition minus what is handled, and forgets partitions that went elsewhere."""

    def __init__(self, metrics: Metrics, names: Mapping[str, str]) -> None:
        """`names` are the manifest's names by the broker's."""
        self._metrics = metrics
        self._names = names
        self._positions: dict[TopicPartition, int] = {}
        self._shown: set[tuple[str, int]] = set()
        self._at = 0.0

    def handled(self, partition: TopicPartition, offset: int) -> None:
        """Everything up to `offset` is handled."""
        self._positions[partition] = offset + 1

    def forget(self) -> None:
        """The partitions are going elsewhere."""
        self._positions.clear()

    def show(self, consumer: AIOKafkaConsumer) -> None:
        """Set the gauges, once a second."""
        now = time.monotonic()
        if now - self._at < EVERY:
            return
        self._at = now
        shown: set[tuple[str, int]] = set()
        assigned = consumer.assignment()
        for partition, position in self._positions.items():
            end = consumer.highwater(partition) if partition in assigned else None
            if end is not None:
                name = self._names[partition.topic]
                shown.add((name, partition.partition))
                self._metrics.lag(name, partition.partition).set(max(0, end - position))
        for topic, number in self._shown - shown:
            self._metrics.forget_lag(topic, number)
        self._shown = shown
