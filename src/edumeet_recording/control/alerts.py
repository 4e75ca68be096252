"""Notices what is wrong, once for as long as it lasts, and tells of it and of its end; loops on the leader."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog

from edumeet_recording.control.autoscale import Autoscaler
from edumeet_recording.control.notices import Receiver
from edumeet_recording.domain.alerting import Severity, Situation, conditions
from edumeet_recording.domain.errors import Unavailable
from edumeet_recording.store import alerts, scaling
from edumeet_recording.store.alerts import Alert
from edumeet_recording.store.transaction import Transactor, Tx

log = structlog.get_logger()

RECOVERED_AFTER = timedelta(seconds=30)
"""A condition that comes back sooner is the same alert: what flaps is told once."""
MISSING_FOR = timedelta(minutes=10)
BATCH = 50
STORAGE_TIMEOUT_S = 10.0
FIRST_RETRY_S = 15.0
LONGEST_RETRY_S = 1800.0


class Alerts:
    """`watch_tick` keeps the alerts, `tell_tick` tells `receivers`. `storage` raises `Unavailable`."""

    def __init__(
        self,
        db: Transactor,
        autoscaler: Autoscaler,
        storage: Callable[[], Awaitable[None]],
        receivers: Sequence[Receiver],
    ) -> None:
        self._db, self._autoscaler, self._storage, self._receivers = db, autoscaler, storage, receivers
        self._storage_trouble = ""
        self._taken: set[tuple[int, int, bool]] = set()
        """Receiver, alert and whether it was over: who took it is not told again for another's sake."""

    async def storage_tick(self) -> None:
        """Try the storage, which may hang."""
        trouble = ""
        try:
            async with asyncio.timeout(STORAGE_TIMEOUT_S):
                await self._storage()
        except Unavailable as error:
            trouble = error.message
        except TimeoutError:
            trouble = f"the storage did not answer within {STORAGE_TIMEOUT_S:g} s"
        self._storage_trouble = trouble

    async def watch_tick(self) -> None:
        """Open alerts for what is wrong, end those for what is not any more."""
        evaluations = await self._autoscaler.evaluate()

        async def work(tx: Tx) -> list[Alert]:
            situation = Situation(
                waiting=await alerts.waiting(tx.conn),
                registered=await alerts.registered(tx.conn),
                nodes=await alerts.nodes(tx.conn, tx.now),
                room_servers=await alerts.sick_room_servers(tx.conn),
                missing=await alerts.missing(tx.conn, tx.now - MISSING_FOR),
                evaluations=evaluations,
                storage=self._storage_trouble,
                provider=self._autoscaler.trouble,
            )
            # first what still holds: a leader that was away for long ends nothing that lasts
            opened = await alerts.see(tx.conn, conditions(situation, tx.now), tx.now)
            ended = await alerts.recover(tx.conn, tx.now - RECOVERED_AFTER, tx.now)
            news = [*opened, *ended]
            if news:
                await scaling.note_together(tx.conn, [_note_of(each) for each in news], tx.now)
            return news

        for alert in await self._db.run(work):
            log.warning(_action(alert), rule=alert.rule, subject=alert.subject, detail=alert.detail)

    async def tell_tick(self) -> None:
        """Tell everybody what they do not know yet, in one message; again later those who could not be told."""
        due = await self._db.read(lambda tx: alerts.to_tell(tx.conn, tx.now, BATCH))
        if not due:
            return
        failed: set[int] = set()
        for number, receiver in enumerate(self._receivers):
            news = [each for each in due if (number, each.id, _is_over(each)) not in self._taken]
            if not news:
                continue
            if await receiver.tell(title_of(news), "\n".join(line_of(each) for each in news), _severity_of(news)):
                self._taken.update((number, each.id, _is_over(each)) for each in news)
            else:
                failed.update(each.id for each in news)
        told = [each for each in due if each.id not in failed]

        async def keep(tx: Tx) -> None:
            await alerts.mark_told(tx.conn, told, tx.now)
            await alerts.postpone(tx.conn, sorted(failed), tx.now, first_s=FIRST_RETRY_S, most_s=LONGEST_RETRY_S)

        await self._db.run(keep)
        done = {each.id for each in told}
        self._taken = {taken for taken in self._taken if taken[1] not in done}


def _note_of(alert: Alert) -> scaling.Note:
    data = {"alertId": alert.id, "subject": alert.subject, "severity": alert.severity, "detail": alert.detail}
    return scaling.Note(alert.region, _action(alert), alert.rule, data)


def _is_over(alert: Alert) -> bool:
    return alert.recovered_at is not None


def _action(alert: Alert) -> str:
    return "recovered" if _is_over(alert) else "alert"


def _severity_of(news: Sequence[Alert]) -> Severity | None:
    """The worst of what is open; None where all of it is over."""
    return max((each.severity for each in news if not _is_over(each)), key=list(Severity).index, default=None)


def title_of(news: Sequence[Alert]) -> str:
    """The subject of a message."""
    if len(news) == 1:
        return f"eduMEET recording: {news[0].rule.replace('_', ' ')}{' is over' if _is_over(news[0]) else ''}"
    over = sum(map(_is_over, news))
    counts = ((len(news) - over, "open"), (over, "over"))
    return "eduMEET recording: " + ", ".join(f"{count} alerts {how}" for count, how in counts if count)


def line_of(alert: Alert) -> str:
    """One alert as a line of a message."""
    if alert.recovered_at is not None:
        lasted_s = (alert.recovered_at - alert.opened_at).total_seconds()
        return f"OVER after {lasted_s:.0f} s [{alert.rule}] {alert.detail}"
    return f"{alert.severity.upper()} [{alert.rule}] {alert.detail}"
