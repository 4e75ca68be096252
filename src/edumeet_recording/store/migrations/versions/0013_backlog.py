"""Indexes for what the loops look for each second."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
