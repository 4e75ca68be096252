"""Which nodes tried to make a file, and how many ended in the midst of it."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
