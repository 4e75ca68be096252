"""Webhooks: what a receiver is told, how it knows that we said it, and how receivers are managed.

A delivery is a POST of a `WebhookMessage` with the headers of the Standard Webhooks specification: `webhook-id` (the
same at every attempt, to recognise repeats), `webhook-timestamp` (epoch seconds of this attempt) and
`webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`, keyed with the secret's bytes
(base64 after `whsec_`). Any 2xx is an acknowledgement; events of a job come in order, each at least once.
"""

import base64
import hashlib
import hmac
from datetime import datetime

from edumeet_recording.wire.base import Body, View
from edumeet_recording.wire.http import HttpUrl
from edumeet_recording.wire.views import JobEvent

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the specification's prefix, not a secret


class NewWebhook(Body):
    """`POST /api/webhooks`."""

    url: HttpUrl


class WebhookEndpoint(View):
    """A receiver. `waiting`: deliveries not yet acknowledged, `dead`: those that were given up after a day."""

    id: str
    tenant_id: str | None
    url: str
    created_at: datetime
    waiting: int = 0
    dead: int = 0
    last_error: str | None = None


class CreatedWebhook(View):
    """The answer to a new receiver; the secret is shown this once."""

    id: str
    url: str
    secret: str


class WebhookList(View):
    """The receivers the caller may see."""

    items: tuple[WebhookEndpoint, ...]


class Replayed(View):
    """How many deliveries begin anew."""

    deliveries: int


class WebhookMessage(View):
    """The body of a delivery. `type` is `recording.` and the event's type, `timestamp` when it happened."""

    type: str
    timestamp: datetime
    data: JobEvent


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
