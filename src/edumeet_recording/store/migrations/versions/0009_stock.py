"""Which recordings' objects were looked over."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
