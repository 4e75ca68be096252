"""Appends the fleet's numbers to `system_metrics`."""

from edumeet_recording.store import metrics
from edumeet_recording.store.transaction import Transactor, Tx


async def metrics_tick(db: Transactor) -> None:
    """One row, with the numbers of each region beside the totals."""

    async def work(tx: Tx) -> None:
        await metrics.store(tx.conn, await metrics.regional_numbers(tx.conn), tx.now)

    await db.run(work)
