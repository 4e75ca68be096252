"""Which nodes tried to make a file, and how many ended in the midst of it."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
