"""Transactions that somebody else spoils are run again."""

from edumeet_recording.store.db import Pool, open_pool
from edumeet_recording.store.notify import Notifier
from edumeet_recording.store.transaction import Transactor, Tx


async def test_a_schema_that_changes_under_our_hands_costs_another_attempt(db_pool: Pool, dsn: str) -> None:
    async def work(tx: Tx) -> None:
        await tx.conn.fetch("SELECT * FROM of_a_test")

    await db_pool.execute("CREATE TABLE of_a_test ()")
    try:
        async with open_pool(dsn, 2) as ours:
            db = Transactor(ours, Notifier("unused"))
            await db.run(work)
            await db_pool.execute("ALTER TABLE of_a_test ADD COLUMN by_the_next_release text")
            await db.run(work)
    finally:
        await db_pool.execute("DROP TABLE of_a_test")
