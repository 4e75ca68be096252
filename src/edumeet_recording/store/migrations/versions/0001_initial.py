"""The seed's four tables, and ours beside them."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
