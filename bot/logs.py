"""Logging, set up once: one record per line, and one processor that hides secrets, numbers and texts."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

HIDDEN = frozenset(
    {"token", "text", "typed", "number", "recipient", "api_key", "secret", "url", "query", "headers", "body"}
)
SECRETS = (
    re.compile(r"xox[a-z]-[\w-]+|xapp-[\w-]+"),
    re.compile(r"(?i)bearer\s+\S+"),
    re.compile(r"(?<=\?)[^\s\"'<>]*=[^\s\"'<>]*"),  # what follows the ? of a URL
    re.compile(r"(?<!\w)\+?\d[\d .-]{7,}\d(?!\w)"),  # telephone numbers
    re.compile(r"(?<=/callbacks/)\S+"),
)
NOISY = (
    "alembic",
    "httpx",
    "httpcore",
    "slack_bolt",
    "slack_sdk",
    "aiohttp",
    "apscheduler",
    "uvicorn",
    "asyncio",
    "opentelemetry",
    "urllib3",
)


def redact(text: str) -> str:
    """Return the text on one line, without secrets and numbers."""
    for pattern in SECRETS:
        text = pattern.sub("…", text)
    return text.replace("\r", "\\r").replace("\n", "\\n").replace("\x1b", "\\x1b")


def _redacted(_logger: object, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in record.items():
        if key in HIDDEN:
            record[key] = "…"
        elif isinstance(value, str) and key != "timestamp":
            record[key] = redact(value)
    return record


def _placed(_logger: object, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its types and places: its message may contain what a person wrote."""
    info = record.pop("exc_info", None)
    error = info[1] if isinstance(info, tuple) else info if isinstance(info, BaseException) else sys.exc_info()[1]
    if info and error is not None:
        record["exception"] = placed(error)
    return record


def placed(error: BaseException) -> str:
    """`KeyError at storage/cards.py:80 < publish/cards.py:91`: where it broke, innermost first, without a value."""
    places, trace = [], error.__traceback__
    while trace is not None:
        places.append(f"{'/'.join(trace.tb_frame.f_code.co_filename.rsplit('/', 2)[-2:])}:{trace.tb_lineno}")
        trace = trace.tb_next
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    below = f" after {placed(cause)}" if cause is not None else ""
    return f"{type(error).__name__} at {' < '.join(reversed(places[-6:]))}{below}"


def set_up(level: str) -> None:
    """Send all records, ours and the libraries', to standard error: as JSON, or in colours on a terminal."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _placed,
        _redacted,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=[structlog.stdlib.PositionalArgumentsFormatter(), *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in NOISY:  # their own records may hold URLs and payloads, at any level that we ask for
        logging.getLogger(name).setLevel(logging.CRITICAL if name in ("httpx", "httpcore") else logging.ERROR)
