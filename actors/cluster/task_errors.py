"""Small helpers around tasks that fail or are cancelled."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

logger = logging.getLogger(__name__)


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel and wait; whatever it ends with is its own affair."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("ended with %r after it was cancelled", error)


def first_fault(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception of a task group, as it was raised."""
    inner = faults.exceptions[0]
    return first_fault(inner) if isinstance(inner, BaseExceptionGroup) else inner


def one_line(error: BaseException) -> str:
    """Kind and last line of a message: of a remote traceback, the line that says what happened."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[-1]}" if text else type(error).__name__
