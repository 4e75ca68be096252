"""Logs: structlog and what logs the standard way go to standard error, as text for people or as JSON lines."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

Severity = Literal["debug", "info", "warning", "error"]

_QUIET = ("alembic", "asyncio", "httpcore2", "httpx2", "stamina", "uvicorn", "websockets")
"""Libraries that say at `info` what our own logs say better; their warnings are kept."""

_TRACEBACKS = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
"""Without the values of variables: they may be secrets, and are long."""


def configure_logging(level: Severity, style: Literal["console", "json"]) -> None:
    """Set up logging for this process; to be called once, before anything logs.

    Standard output is left alone: it is for what a command answers.
    """
    stamped: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    drawn: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if style == "console"
        else [_TRACEBACKS, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*stamped, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*stamped, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *drawn],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
