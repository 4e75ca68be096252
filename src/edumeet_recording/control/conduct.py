"""Notes which nodes fail recordings, and puts aside those that keep doing so (`domain/quarantine.py`)."""

import structlog

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.quarantine import Conduct, QuarantineLimits, after_failure
from edumeet_recording.store import conduct
from edumeet_recording.store.transaction import Channel, Tx

log = structlog.get_logger()


async def note_failure(tx: Tx, settings: OrchestratorSettings, node_id: str, detail: str) -> None:
    """A node has failed a recording; after too many it gets no new ones while others are there."""
    before = await conduct.locked(tx.conn, node_id)
    if before is None:
        return
    limits = QuarantineLimits(
        settings.quarantine_failures, settings.quarantine_window_s, settings.quarantine_back_off_s
    )
    after = after_failure(before, tx.now, limits)
    if after == before:
        return
    until = after.quarantined_until
    told = None
    if until is not None:
        told = f"quarantined until {until:%Y-%m-%d %H:%M:%S} UTC: it keeps failing recordings, lastly {detail}"
    await conduct.keep(tx.conn, node_id, after, told)
    if until is not None:
        data = {"until": until.isoformat(), "quarantines": after.quarantines, "detail": detail}
        await conduct.note(tx.conn, node_id, "quarantined", tx.now, data)
        log.warning("node_quarantined", node_id=node_id, until=until.isoformat(), detail=detail)
        tx.hint(Channel.FLEET, node_id)


async def forgive(tx: Tx, node_id: str) -> None:
    """Give a node recordings again, as if it had failed none."""
    before = await conduct.locked(tx.conn, node_id)
    if before is None or before == Conduct():
        return
    await conduct.keep(tx.conn, node_id, Conduct(), None)
    if before.quarantined_until is not None and before.quarantined_until > tx.now:
        await conduct.note(tx.conn, node_id, "quarantine_lifted", tx.now)
