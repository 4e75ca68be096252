"""Tells people: mail, chat and webhooks through Apprise, which is synchronous, hence in threads and with a time-out."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from edumeet_recording.domain.alerting import Severity
from edumeet_recording.domain.errors import InvalidRequest

log = structlog.get_logger()

TIMEOUT_S = 20.0


class Receiver(Protocol):
    """Somebody to be told; raises nothing."""

    async def tell(self, title: str, body: str, severity: Severity | None) -> bool:
        """True where it was taken. `severity` None: all is well again."""
        ...


class AppriseReceiver:
    """A receiver by its Apprise URL, such as `mailtos://…`, `slack://…`, `json://…`."""

    def __init__(self, url: str, position: int) -> None:
        # 0.3 s, and only where somebody is to be told
        import apprise

        target = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if not isinstance(target, apprise.NotifyBase):
            # the URL holds a password or token: it is not repeated
            raise InvalidRequest(f"ALERT_URLS: entry {position} is no URL that Apprise knows")
        self._target = target
        self._kinds = {
            None: apprise.NotifyType.SUCCESS,
            Severity.WARNING: apprise.NotifyType.WARNING,
            Severity.CRITICAL: apprise.NotifyType.FAILURE,
        }

    async def tell(self, title: str, body: str, severity: Severity | None) -> bool:
        """Send it; False where that failed or took too long."""
        kind = self._kinds[severity]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                taken = await asyncio.to_thread(self._target.notify, body=body, title=title, notify_type=kind)
        except TimeoutError:
            taken = False
        if not taken:
            log.warning("alert_not_taken", receiver=self._target.url(privacy=True))
        return bool(taken)


def receivers_of(urls: str) -> Sequence[Receiver]:
    """Those that the setting names, separated by blanks. Raises `InvalidRequest` for a URL that is none."""
    return [AppriseReceiver(url, position) for position, url in enumerate(urls.split(), start=1)]
