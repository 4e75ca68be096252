"""Indexes for what is seldom there, and looked for all the time."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
