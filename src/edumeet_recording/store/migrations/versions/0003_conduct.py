"""How nodes have done, and what happened to them."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
