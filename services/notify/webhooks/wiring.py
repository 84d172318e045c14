"""Puts the parts of webhooks together for `app.py`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from services.notify.settings import Settings
from services.notify.webhooks.dispatcher import Dispatcher
from services.notify.webhooks.fanout import Fanout
from services.notify.webhooks.lanes import Bounds
from services.notify.webhooks.measures import Measures
from services.notify.webhooks.registry import Registry
from services.notify.webhooks.secrets import SecretBox
from services.notify.webhooks.sender import Sender
from services.notify.webhooks.settling import Settling
from shared.db import Database
from shared.egress.rules import Rules, networks
from shared.egress.vetting import Vetting
from shared.metrics import Metrics
from shared.timers import RelayLike


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """What the service is told of webhooks."""

    fanout: Fanout
    registry: Registry
    dispatcher: Dispatcher
    sender: Sender


def build(*, settings: Settings, database: Database, relay: RelayLike, metrics: Metrics, master: bytes) -> Webhooks:
    """Everything webhooks bring into a process; close the sender at the end."""
    rules = Rules(opened=networks(settings.webhook_allowed_networks), plain_http=settings.webhook_plain_http)
    box, measures = SecretBox(master), Measures(metrics)
    sender = Sender(Vetting(rules), seconds=settings.webhook_seconds)
    settling = Settling(database, relay, measures, disable_days=settings.webhook_disable_days)
    dispatcher = Dispatcher(
        database=database,
        relay=relay,
        sender=sender,
        box=box,
        settling=settling,
        measures=measures,
        seconds=settings.webhook_seconds,
        kept=timedelta(days=settings.webhook_keep_days),
        bounds=Bounds(endpoint=settings.webhook_concurrency),
    )
    return Webhooks(
        fanout=Fanout(too_old=timedelta(hours=settings.webhook_expire_hours)),
        registry=Registry(box, rules),
        dispatcher=dispatcher,
        sender=sender,
    )
