"""Which captures need a key frame."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
