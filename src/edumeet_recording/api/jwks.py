"""Public keys from a JWKS document (RFC 7517), fetched when needed and kept for a while."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import jwt

from edumeet_recording.domain.errors import Unauthenticated, Unavailable

FRESH_S = 600
"""Keys are fetched again after this: a key that was withdrawn stops being accepted."""
UNKNOWN_KEY_S = 30
"""At most one fetch in this time for keys we do not know: forged tokens must not become a flood of requests."""
FETCH_TIMEOUT_S = 5
ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})


class JwksKeys:
    """The keys of one JWKS URL by key id. `clock` gives epoch seconds."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str | None, tuple[str, Any]] = {}
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def key(self, kid: str | None) -> tuple[str, Any]:
        """The algorithm and the key named `kid`. Raises `Unauthenticated`, or `Unavailable` where no fetch succeeds."""
        if self._is_due(kid):
            async with self._lock:
                if self._is_due(kid):
                    await self._fetch()
        found = self._keys.get(kid)
        if found is None:
            raise Unauthenticated("the token is signed with a key that the JWKS does not list")
        return found

    def _is_due(self, kid: str | None) -> bool:
        age_s = self._clock() - self._fetched_at
        return age_s >= FRESH_S or (kid not in self._keys and age_s >= UNKNOWN_KEY_S)

    async def _fetch(self) -> None:
        try:
            async with httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S) as client:
                answer = await client.get(self._url)
                answer.raise_for_status()
                self._keys = keys_of(answer.json())
                self._fetched_at = self._clock()
        except (httpx2.HTTPError, ValueError, TypeError, jwt.PyJWTError) as error:
            if not self._keys:
                raise Unavailable(f"the JWKS cannot be read: {error}") from error
            # old keys hold until the next try: the identity provider's outage is not ours
            self._fetched_at = self._clock() - FRESH_S + UNKNOWN_KEY_S


def keys_of(document: object) -> dict[str | None, tuple[str, Any]]:
    """The usable signing keys of a JWKS; symmetric keys and other algorithms are left out.

    A document with a single key also serves tokens without a key id. Raises TypeError, ValueError or
    PyJWTError where it is none.
    """
    if not isinstance(document, dict):
        raise TypeError("not a JWKS document")
    keys: dict[str | None, tuple[str, Any]] = {
        each.key_id: (each.algorithm_name, each.key)
        for each in jwt.PyJWKSet.from_dict(document).keys
        if each.algorithm_name in ALGORITHMS and each.public_key_use in {None, "sig"}
    }
    if len(keys) == 1:
        keys[None] = next(iter(keys.values()))
    return keys
