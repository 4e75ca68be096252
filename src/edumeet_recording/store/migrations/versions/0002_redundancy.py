"""What a recording that is made twice needs to know of its standby."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
