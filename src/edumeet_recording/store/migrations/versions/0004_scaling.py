"""Nodes that autoscaling asked for, and alerts."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
