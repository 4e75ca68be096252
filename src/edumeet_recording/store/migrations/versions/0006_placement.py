"""Where captures and files may be, what they cost beside cores, why they are where they are, and tenants' limits."""

from edumeet_recording.store.migrate import run_sql_of

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Forward only."""
    run_sql_of(__file__)
