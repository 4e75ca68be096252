"""What a recording needs to outlive its room server."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
