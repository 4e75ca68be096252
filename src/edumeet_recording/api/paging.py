"""The cursor of a page: opaque to callers, checked when it comes back."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime

from edumeet_recording.domain.errors import InvalidRequest
from edumeet_recording.store.views import PageEnd
from edumeet_recording.wire.http import IDENTIFIER


def encode_cursor(end: PageEnd) -> str:
    """Where the next page begins, as URL-safe text."""
    text = json.dumps([end.created_at.astimezone(UTC).isoformat(), end.job_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> PageEnd:
    """The end of the page before. Raises `InvalidRequest` where `cursor` is none of ours."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, job_id = json.loads(text)
        at, is_id = datetime.fromisoformat(created_at), re.fullmatch(IDENTIFIER, job_id) is not None
    except (binascii.Error, ValueError, TypeError) as error:
        raise _foreign() from error
    if at.utcoffset() is None or not 1970 <= at.year < 2100 or not is_id:
        raise _foreign()
    return PageEnd(at, job_id)


def _foreign() -> InvalidRequest:
    return InvalidRequest("is not a cursor of this service", code="validation_error", field="cursor")
