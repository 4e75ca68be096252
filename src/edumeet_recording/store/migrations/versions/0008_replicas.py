"""Who serves, and who leads."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
