"""Room for nodes' heartbeats, in the pages that their rows are in."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
