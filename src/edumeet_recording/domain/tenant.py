"""What an organisation may have, and where."""

from dataclasses import dataclass

from edumeet_recording.domain.queueing import Quota


@dataclass(frozen=True, slots=True)
class Tenant:
    """Limits of a tenant. `allowed_regions`: patterns (`domain/regions.py`), None: any.

    `share`: of the fleet while recordings wait, against the other tenants.
    """

    id: str
    allowed_regions: tuple[str, ...] | None
    quota: Quota
    share: int
