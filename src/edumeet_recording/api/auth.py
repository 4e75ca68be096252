"""Who calls: JWT bearer tokens (RFC 7519), their scopes and their tenant."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edumeet_recording.api.jwks import JwksKeys
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import Forbidden, Unauthenticated
from edumeet_recording.wire.http import IDENTIFIER

CACHED_TOKENS = 10_000
CLOCK_SKEW_S = 5
"""A token from a machine whose clock is ahead of ours by this much is good."""
MAX_TOKEN_CHARACTERS = 8192
LAST_INSTANT = 1e11
"""Epoch seconds of no sane token: the year 5138."""


@unique
class Scope(StrEnum):
    """What a token may be good for."""

    RECORDINGS_READ = "recordings:read"
    RECORDINGS_WRITE = "recordings:write"
    RECORDINGS_ADMIN = "recordings:admin"
    NODES_READ = "nodes:read"
    NODES_ADMIN = "nodes:admin"
    METRICS_READ = "metrics:read"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose token was verified. `tenant` None sees all tenants; `expires_at` in epoch seconds."""

    subject: str
    scopes: frozenset[str]
    tenant: str | None
    expires_at: float

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden` where the token lacks `scope`."""
        if scope not in self.scopes:
            raise Forbidden(f"the token lacks the scope {scope}", code="missing_scope")


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A key and the one algorithm it is used with: the token's header never chooses (RFC 8725 §3.1)."""

    algorithm: str
    key: Any


def issue_token(
    secret: str, *, subject: str, scopes: tuple[str, ...], tenant: str | None, ttl_s: int, now: float
) -> str:
    """An HS256 token that `JWT_SECRET` verifies. `now` in epoch seconds."""
    claims: dict[str, Any] = {"sub": subject, "scope": " ".join(scopes), "iat": int(now), "exp": int(now) + ttl_s}
    if tenant is not None:
        claims["tenantId"] = tenant
    return jwt.encode(claims, secret, algorithm="HS256")


class Authenticator:
    """Verifies tokens and remembers the good ones until they expire.

    Raises ValueError where no key is configured or the public key is of a kind no supported algorithm takes.
    """

    def __init__(self, settings: OrchestratorSettings, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._audience = settings.jwt_audience or None
        self._issuer = settings.jwt_issuer or None
        self._keys = {key.algorithm: key for key in _fixed_keys(settings)}
        self._jwks = JwksKeys(settings.jwt_jwks_url, clock) if settings.jwt_jwks_url else None
        if not self._keys and self._jwks is None:
            raise ValueError("set JWT_SECRET, JWT_PUBLIC_KEY or JWT_JWKS_URL")
        self._verified: OrderedDict[bytes, Principal] = OrderedDict()

    async def verify(self, token: str | None) -> Principal:
        """The caller `token` names. Raises `Unauthenticated`, or `Unavailable` where the JWKS cannot be had."""
        if not token:
            raise Unauthenticated("a bearer token is needed")
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise Unauthenticated("the token is too long")
        digest = hashlib.sha256(token.encode(errors="replace")).digest()
        principal = self._verified.get(digest)
        if principal is None:
            principal = self._principal_of(await self._claims_of(token))
            self._verified[digest] = principal
            if len(self._verified) > CACHED_TOKENS:
                self._verified.popitem(last=False)
        if principal.expires_at <= self._clock():
            self._verified.pop(digest, None)
            raise Unauthenticated("the token has expired", code="token_expired")
        return principal

    def remaining_s(self, principal: Principal) -> float:
        """How long the caller's token still holds."""
        return principal.expires_at - self._clock()

    async def _claims_of(self, token: str) -> Mapping[str, Any]:
        try:
            key = await self._key_for(jwt.get_unverified_header(token))
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=self._audience,
                issuer=self._issuer,
                # times are checked against our own clock, which is an argument
                options={
                    "require": ["exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": self._audience is not None,
                },
            )
        except (jwt.PyJWTError, ValueError) as error:
            raise Unauthenticated(f"the token does not hold: {error}") from error

    async def _key_for(self, header: Mapping[str, Any]) -> VerifyingKey:
        fixed = self._keys.get(str(header.get("alg")))
        if fixed is not None:
            return fixed
        if self._jwks is None:
            raise Unauthenticated("the token's algorithm is not accepted here")
        algorithm, key = await self._jwks.key(header.get("kid"))
        return VerifyingKey(algorithm, key)

    def _principal_of(self, claims: Mapping[str, Any]) -> Principal:
        now = self._clock()
        expires_at = _instant(claims, "exp")
        if max(_instant(claims, "nbf", 0.0), _instant(claims, "iat", 0.0)) > now + CLOCK_SKEW_S:
            raise Unauthenticated("the token is not valid yet")
        subject = claims.get("sub", "")
        if not isinstance(subject, str) or len(subject) > 200 or not subject.isprintable():
            raise Unauthenticated("the token's sub is not a short printable text")
        return Principal(subject=subject, scopes=_scopes(claims), tenant=_tenant(claims), expires_at=expires_at)


def _fixed_keys(settings: OrchestratorSettings) -> list[VerifyingKey]:
    keys: list[VerifyingKey] = []
    if secret := settings.jwt_secret.get_secret_value():
        keys.append(VerifyingKey("HS256", secret))
    if settings.jwt_public_key:
        keys.append(_public_key(settings.jwt_public_key))
    return keys


def _public_key(pem: str) -> VerifyingKey:
    try:
        # one-line environment files carry the line breaks of a PEM as \n
        key = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError(f"JWT_PUBLIC_KEY is not a PEM public key: {error}") from error
    if isinstance(key, RSAPublicKey):
        return VerifyingKey("RS256", key)
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return VerifyingKey("ES256", key)
    if isinstance(key, Ed25519PublicKey):
        return VerifyingKey("EdDSA", key)
    raise ValueError("JWT_PUBLIC_KEY must be an RSA, P-256 or Ed25519 key")


def _instant(claims: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = claims.get(name, default)
    # NaN would never expire, and JSON as Python reads it may hold one
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LAST_INSTANT:
        raise Unauthenticated(f"the token's {name} is not a time")
    return float(value)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    spaced, listed = claims.get("scope", ""), claims.get("scopes", [])
    if not isinstance(spaced, str) or not isinstance(listed, list):
        raise Unauthenticated("the token's scope is neither a text nor a list")
    return frozenset(spaced.split()) | {scope for scope in listed if isinstance(scope, str)}


def _tenant(claims: Mapping[str, Any]) -> str | None:
    if "tenantId" not in claims:
        return None
    tenant = claims["tenantId"]
    # an empty or odd tenant must not widen what the token sees
    if not isinstance(tenant, str) or re.fullmatch(IDENTIFIER, tenant) is None:
        raise Unauthenticated("the token's tenantId is not an identifier")
    return tenant
