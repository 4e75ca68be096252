"""Recordings as the API shows them; those that are asked for at once are read by one query."""

from collections.abc import Sequence

from edumeet_recording.control.together import Together
from edumeet_recording.domain.errors import NotFound
from edumeet_recording.store import views
from edumeet_recording.store.db import Pool, mapped_errors
from edumeet_recording.wire.views import Recording

MOST_TOGETHER = 32


class RecordingReads:
    """What is read was written before it was asked for, or later."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._together = Together(self._read, MOST_TOGETHER)

    async def get(self, job_id: str, tenant: str | None) -> Recording:
        """One recording; `tenant` None sees all. Raises `NotFound`, or `Unavailable` where the database is away."""
        found = await self._together(job_id)
        if found is None or tenant not in {None, found.tenant_id}:
            raise unknown_recording(job_id)
        return found

    async def _read(self, job_ids: Sequence[str]) -> list[Recording | None]:
        async with mapped_errors(), self._pool.acquire() as conn:
            found = {each.job_id: each for each in await views.recordings(conn, job_ids, None)}
        return [found.get(job_id) for job_id in job_ids]


def unknown_recording(job_id: str) -> NotFound:
    """Not there, or not for this caller, who is to see no difference."""
    return NotFound(f"there is no recording {job_id}")
