"""Brings the schema of the settings' database to this release's: of DATABASE_URL, or of the embedded server."""

from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.store.embedded import database
from edumeet_recording.store.migrate import current, head, upgrade


async def bring_up_to_date(settings: OrchestratorSettings) -> tuple[str | None, str | None]:
    """The revision before, None where the database was empty, and the one it is at now. Raises `Unavailable`."""
    async with database(settings.database_url.get_secret_value(), settings.state_dir) as dsn:
        before = await current(dsn)
        await upgrade(dsn)
        return before, head()
