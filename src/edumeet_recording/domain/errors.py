"""One error tree: whose fault it is and whether to retry; HTTP codes live in api/errors.py.

OrchestratorError
├── InvalidRequest        the caller's fault; the same request fails again
│   ├── NotFound
│   ├── Conflict          clashes with what is there (state, idempotency key, running recording)
│   ├── Unauthenticated
│   └── Forbidden
├── Refused               nobody's fault; retry after `retry_after_s`
│   ├── NoCapacity
│   └── QuotaExceeded     the tenant has what it may have
└── Unavailable           something we need is away (database, storage, room server); retry
"""


class OrchestratorError(Exception):
    """Base of every error this project raises on purpose.

    `code` is a stable word a program can switch on, `field` the path of the offending input
    (`rtpStreams.0.port`) where there is one.
    """

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field


class InvalidRequest(OrchestratorError):
    """The request cannot be carried out as it is."""

    code = "invalid_request"


class NotFound(InvalidRequest):
    """What the request names does not exist, or is not the caller's to see."""

    code = "not_found"


class Conflict(InvalidRequest):
    """The request clashes with the present state."""

    code = "conflict"


class Unauthenticated(InvalidRequest):
    """No credential, or one that does not hold."""

    code = "unauthenticated"


class Forbidden(InvalidRequest):
    """A good credential that is not good for this."""

    code = "forbidden"


class Refused(OrchestratorError):
    """Refused now; the same request may succeed after `retry_after_s` seconds."""

    code = "refused"

    def __init__(self, message: str, *, retry_after_s: int, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message, code=code, field=field)
        self.retry_after_s = retry_after_s


class NoCapacity(Refused):
    """No node can take it and the queue is full."""

    code = "no_capacity"


class QuotaExceeded(Refused):
    """The tenant has as many recordings as it may have."""

    code = "quota_exceeded"


class Unavailable(OrchestratorError):
    """Something we depend on is away."""

    code = "unavailable"
