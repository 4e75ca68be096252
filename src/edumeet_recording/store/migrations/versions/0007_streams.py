"""Streams that a peer publishes later, or anew."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
