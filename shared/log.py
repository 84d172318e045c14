"""JSON lines on standard output, each with the service and the correlation id, personal data masked.

Everything that logs goes one way: structlog and the standard library (aiokafka, asyncpg, uvicorn) end in the same
handler, and the last step before the line is written masks every string in it, exceptions included. Log ids, never
content: the masks are a net under that rule, not a licence.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from shared.settings import ServiceSettings

_QUIET = ("aiokafka", "asyncio", "faststream", "uvicorn", "uvicorn.error")
"""Libraries that talk at level info about every heartbeat; ours at debug shows them."""

_HUSHED = r"pass(?:word|wd|phrase)?|secret|api[_-]?key|access[_-]?token|token|authorization|cookie|client[_-]?secret"
_SECRET_KEY = re.compile(rf"(?:^|[_-])(?:{_HUSHED})$", re.IGNORECASE)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s'\"<>]*@", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    rf"(?<![A-Za-z])((?:{_HUSHED})['\"]?\s*[=:]\s*(?:b(?=['\"]))?['\"]?)(?!\[)[^\s'\",;&)}}\]]+", re.IGNORECASE
)
_SIGNED = re.compile(r"\beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?")
_KEY = re.compile(r"\b(?:dw[a-z]{0,4}|sk|pk|ghp|xox[abp])[_-][A-Za-z0-9_-]{16,}\b")
_RANDOM = re.compile(r"(?<![\w-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{40,}={0,2}(?![\w-])", re.ASCII)
_MAIL = re.compile(
    r"(?:\"[^\"\s][^\"\n]{0,64}\"|[^\s<>\"'(),:;\[\]{}|=&?/]{1,256})(?:@|%40|=40|\uff20|\ufe6b)"
    r"(?:\[[\d.:A-Fa-fIPv]+\]|[^\s<>\"'(),:;\[\]{}|=&?/@]+)",
)
_PHONE = re.compile(r"(?<![\w.:/-])(?:\+\s?)?\(?\d[\d\s().\u2010-\u2015/-]{6,22}\d(?![\w-])")
_NOT_PHONE = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2})?"  # a date
    r"|\d{1,3}(?:\.\d{1,3}){3}"  # an IPv4 address
    r"|\d+\.\d+"  # a decimal number
    r"|\d{1,9}"
)
_ROW = re.compile(
    r"(Failing row contains |Key )\(.*?\)(=\(.*?\))?(?= (?:already|is|conflicts|does)|\.|$)", re.MULTILINE | re.DOTALL
)
_INPUT = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)
_TELLTALE = re.compile(
    r"[@%=:\uff20\ufe6b]|\d{2}|eyJ|bearer|basic|[_-]\w{16}|row contains|Key \(|\w{40}", re.IGNORECASE
)

_LONGEST = 16_000
_MIN_DIGITS, _MAX_DIGITS = 8, 15  # a national number with its area code; E.164


def redact(text: str) -> str:
    """`text` with addresses, phone numbers, tokens, keys and userinfo masked, cut after 16,000 characters.

    Also what PostgreSQL and pydantic quote of the row or value they refuse.
    """
    if len(text) > _LONGEST:
        # Cut first: a megabyte of mail in an error message must not cost seconds of matching.
        text = text[:_LONGEST] + "[cut]"
    if not _TELLTALE.search(text):
        return text
    text = _ROW.sub(r"\1([row])", text)
    text = _INPUT.sub("input_value=[value]", text)
    text = _USERINFO.sub(r"\1[userinfo]@", text)
    text = _BEARER.sub(r"\1 [token]", text)
    text = _ASSIGNED.sub(r"\1[secret]", text)
    text = _SIGNED.sub("[token]", text)
    text = _KEY.sub("[key]", text)
    text = _RANDOM.sub("[key]", text)
    text = _MAIL.sub(_mail, text)
    return _PHONE.sub(_phone, text)


def _mail(match: re.Match[str]) -> str:
    return match[0] if match[0].startswith("[userinfo]") else "[address]"


def _phone(match: re.Match[str]) -> str:
    text = match[0].strip()
    if _NOT_PHONE.fullmatch(text):
        return match[0]
    digits = sum(character.isdigit() for character in text)
    return "[phone]" if _MIN_DIGITS <= digits <= _MAX_DIGITS else match[0]


def _clean(value: object, name: str = "") -> object:
    """`value` as something JSON knows, masked at every depth."""
    if value is None or isinstance(value, (bool, float)):
        return value
    if name and _SECRET_KEY.search(name):
        return "[secret]"
    if isinstance(value, int):
        return redact(str(value)) if name in {"phone", "number", "caller"} else value
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): _clean(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean(inner) for inner in value]
    return redact(value.decode(errors="replace") if isinstance(value, (bytes, bytearray)) else str(value))


def redacting(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The last processor before rendering: nothing unmasked passes it. Our own timestamp is no phone number."""
    del logger, method
    timestamp = event.pop("timestamp", None)
    cleaned: EventDict = {redact(str(key)): _clean(value, str(key)) for key, value in event.items()}
    return {"timestamp": timestamp, **cleaned}


def _render(logger: WrappedLogger, method: str, event: EventDict) -> str:
    del logger, method
    return orjson.dumps(event).decode()


def setup(settings: ServiceSettings | None = None, *, level: str | None = None, stream: TextIO | None = None) -> None:
    """Send all logging of this process through one masked JSON handler; calling again replaces it.

    The level is `settings.log_level` unless `level` says otherwise; the stream is standard output.
    """
    chosen = (level or (settings.log_level if settings else "info")).upper()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redacting, _render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(chosen)
    for name in _QUIET:
        library = logging.getLogger(name)
        library.handlers = []
        library.propagate = True
        library.setLevel(max(logging.WARNING, root.level) if chosen != "DEBUG" else logging.DEBUG)
    logging.captureWarnings(capture=True)
    sys.excepthook = _uncaught


def _uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    """An exception nobody caught, as one masked line instead of a traceback on standard error."""
    del trace
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("uncaught").critical("uncaught", exc_info=error)


@contextmanager
def bound(**values: str) -> Iterator[None]:
    """Put `values` (`service`, `correlation`, …) on every line logged inside, also by libraries and child tasks."""
    with structlog.contextvars.bound_contextvars(**values):
        yield
