"""Alembic's entry: runs the migrations on the connection that store/migrate.py hands over, one replica at a time."""

from alembic import context
from sqlalchemy import Connection, text

LOCK_KEY = 0x65647532
"""Any number that no other advisory lock of this database uses."""

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection)
with context.begin_transaction():
    # held until the commit: a second replica waits, then finds nothing left to do
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    context.run_migrations()
