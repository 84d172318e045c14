"""A monitoring system fires an alert, repeats it, and tells that it recovered."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from cli.demo.stage import Stage


async def fired_and_recovered(stage: Stage) -> None:
    """One ticket for the alert and its repetition; solved when it recovers."""
    stage.say("an alert fires, is repeated, recovers")
    began = datetime.now(UTC).isoformat()
    sent = time.monotonic()
    ticket_id = (await stage.ask("POST", "/v1/alerts", _payload(stage.run, began)))["results"][0]["ticket_id"]
    created = await stage.fact("ticket.created", ticket_id=ticket_id)
    took = stage.since(sent, created)
    await stage.ask("POST", "/v1/alerts", _payload(stage.run, began))
    stage.check("alert → ticket", f"{created['ticket']['number']} {created['ticket']['subject']}", True, took)
    await stage.ask("POST", "/v1/alerts", _payload(stage.run, began, ended=datetime.now(UTC).isoformat()))
    solved = await stage.fact("ticket.status_changed", ticket_id=ticket_id, trigger="recovered")
    opened = len(stage.topics.of("ticket.created", ticket_id=ticket_id))
    told = f"{solved['ticket']['number']} {solved['current']}, {opened} ticket"
    stage.check("repeated, recovered → same one, solved", told, passed=opened == 1)


def _payload(run: str, began: str, ended: str | None = None) -> dict[str, object]:
    """What Alertmanager posts (webhook, version 4)."""
    status = "resolved" if ended else "firing"
    labels = {"alertname": "DiskWillFillIn4Hours", "severity": "warning", "instance": "db-3:9100", "run": run}
    return {
        "version": "4",
        "groupKey": f'{{}}:{{alertname="DiskWillFillIn4Hours",run="{run}"}}',
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "desk",
        "groupLabels": {"alertname": "DiskWillFillIn4Hours"},
        "commonLabels": labels,
        "commonAnnotations": {"summary": "Disk of db-3 will fill within four hours"},
        "externalURL": "http://alerts.example",
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": {"summary": "Disk of db-3 will fill within four hours"},
                "startsAt": began,
                "endsAt": ended or "0001-01-01T00:00:00Z",
                "generatorURL": "http://prometheus.example/graph",
                "fingerprint": run.rsplit("-", 1)[1] * 2,
            }
        ],
    }
