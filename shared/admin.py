"""The FastStream application of one service: its lifecycle, its health and metrics, its AsyncAPI description.

Kafka is spoken by the bus, so the broker here is never started: it describes what the service publishes, as the
documented way for others to subscribe with FastStream. The page that would publish to the real broker from a browser
(`try it out`) is not mounted.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from typing_extensions import override

from shared import health
from shared.contracts import manifest

if TYPE_CHECKING:
    from faststream.asgi import AsgiFastStream
    from faststream.kafka import KafkaBroker

    from shared.settings import ServiceSettings

PATHS = frozenset({"/livez", "/readyz", "/metrics", "/asyncapi.json"})
"""Answered here, for every service, without authentication and without a line in the access log."""


def application(
    settings: ServiceSettings,
    state: health.Health,
    render_metrics: Callable[[], bytes],
    lifespan: Callable[..., AbstractAsyncContextManager[None]],
) -> AsgiFastStream:
    """The FastStream application around one service; `lifespan` starts and drains the service itself."""
    from faststream.asgi import AsgiFastStream, AsyncAPIRoute  # noqa: PLC0415 - 20 MB that `--print-config` need not load
    from faststream.specification import AsyncAPI  # noqa: PLC0415 - as above

    return AsgiFastStream(
        _broker(settings),
        lifespan=lifespan,
        logger=None,
        specification=AsyncAPI(
            title=settings.SERVICE, version="1.0.0", description=f"What {settings.SERVICE} publishes."
        ),
        asyncapi_path=AsyncAPIRoute("/asyncapi", asyncapi_json_path="/asyncapi.json", try_it_out_path=None),
        asgi_routes=[
            ("/livez", health.livez(state)),
            ("/readyz", health.readyz(state)),
            ("/metrics", health.metrics_endpoint(render_metrics)),
        ],
    )


def _broker(settings: ServiceSettings) -> KafkaBroker:
    from faststream.kafka import KafkaBroker  # noqa: PLC0415 - as above

    class Described(KafkaBroker):
        """Never connects: a FastStream broker that cannot reach Kafka would end the application."""

        @override
        async def start(self) -> None:
            """Start nothing."""

        @override
        async def stop(self, *_error: object) -> None:
            """Stop nothing."""

    broker = Described(
        settings.kafka_url, specification_url="kafka:9092", description="The brokers of this installation"
    )
    for topic in manifest.TOPICS:
        if topic.owner == settings.SERVICE:
            for event in topic.events:
                broker.publisher(settings.topic(topic.name), schema=event, title=event.TYPE, description=topic.summary)
    return broker
