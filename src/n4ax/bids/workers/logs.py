"""What Dask logs: less of it, and each message in one line."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from n4ax.messages import give_reason

_UNWANTED = ("Compute Failed", "Task %s marked as failed", "Couldn't gather keys")
"""The caller gets the exceptions anyway, and a result lost with its worker is computed again."""


@contextmanager
def quieten(least: int = logging.ERROR) -> Iterator[None]:
    """Hide distributed's log messages below a level, and those about tasks that failed.

    The caller has the exceptions of the tasks and reports them. The messages that are left have no
    tracebacks.
    """
    loggers = [logging.getLogger(f"distributed{part}") for part in ("", ".client", ".gc")]
    before = [logger.level for logger in loggers]
    handlers = _list_handlers()
    for logger in loggers:
        logger.setLevel(least)
    for handler in handlers:
        handler.addFilter(_shorten)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_shorten)
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def write_briefly() -> None:
    """Let this process, a worker, log in the same way from now on."""
    for handler in _list_handlers():
        handler.addFilter(_shorten)


def _list_handlers() -> list[logging.Handler]:
    names = ("distributed", "distributed.client", "tornado", "tornado.application")
    return [handler for name in names for handler in logging.getLogger(name).handlers]


def _shorten(record: logging.LogRecord) -> bool:
    """Put an exception in place of its traceback; return whether the message is wanted."""
    if str(record.msg).startswith(_UNWANTED):
        return False
    if record.exc_info:
        error = record.exc_info[1]
        reason = give_reason(error) if isinstance(error, Exception) else type(error).__name__
        message = record.getMessage() or "failed"
        record.msg, record.args = message if reason in message else f"{message}: {reason}", None
        record.exc_info = record.exc_text = None
    return True
