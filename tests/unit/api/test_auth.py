"""Who gets in: keys, algorithms, times, scopes and tenants."""

import asyncio
import functools
import json
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fastapi import FastAPI
from tests.unit.api.fakes import NOW, SECRET, RecordingCommands, bearer, token

from edumeet_recording.api.auth import Authenticator, Scope
from edumeet_recording.api.jwks import keys_of
from edumeet_recording.config import OrchestratorSettings
from edumeet_recording.domain.errors import Forbidden, Unauthenticated

CLAIMS = {"sub": "tester", "scope": "recordings:read", "exp": NOW + 60}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEYS = {
    "RS256": RSA_KEY,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}

ENDPOINTS = [
    ("POST", "/api/recordings/start", Scope.RECORDINGS_WRITE),
    ("POST", "/api/recordings/job-1/stop", Scope.RECORDINGS_WRITE),
    ("POST", "/api/recordings/job-1/cancel", Scope.RECORDINGS_WRITE),
    ("POST", "/api/recordings/job-1/retry", Scope.RECORDINGS_WRITE),
    ("PUT", "/api/recordings/job-1/legal-hold", Scope.RECORDINGS_ADMIN),
    ("DELETE", "/api/recordings/job-1/legal-hold", Scope.RECORDINGS_ADMIN),
    ("GET", "/api/recordings/job-1/assets/poster.jpg", Scope.RECORDINGS_READ),
    ("GET", "/api/tenants", Scope.NODES_ADMIN),
    ("GET", "/api/tenants/t", Scope.NODES_ADMIN),
    ("PUT", "/api/tenants/t", Scope.NODES_ADMIN),
    ("DELETE", "/api/tenants/t", Scope.NODES_ADMIN),
    ("POST", "/api/webhooks", Scope.RECORDINGS_WRITE),
    ("GET", "/api/webhooks", Scope.RECORDINGS_READ),
    ("DELETE", "/api/webhooks/hook-1", Scope.RECORDINGS_WRITE),
    ("POST", "/api/webhooks/hook-1/replay", Scope.RECORDINGS_WRITE),
    ("DELETE", "/api/recordings/job-1", Scope.RECORDINGS_WRITE),
    ("GET", "/api/recordings", Scope.RECORDINGS_READ),
    ("GET", "/api/recordings/job-1", Scope.RECORDINGS_READ),
    ("GET", "/api/recordings/job-1/events", Scope.RECORDINGS_READ),
    ("GET", "/api/recordings/job-1/report", Scope.RECORDINGS_READ),
    ("GET", "/api/recordings/job-1/download", Scope.RECORDINGS_READ),
    ("HEAD", "/api/recordings/job-1/download", Scope.RECORDINGS_READ),
    ("GET", "/api/nodes", Scope.NODES_READ),
    ("GET", "/api/nodes/node-1", Scope.NODES_READ),
    ("GET", "/api/nodes/node-1/events", Scope.NODES_READ),
    ("DELETE", "/api/nodes/node-1", Scope.NODES_ADMIN),
    ("POST", "/api/nodes/node-1/drain", Scope.NODES_ADMIN),
    ("POST", "/api/nodes/node-1/undrain", Scope.NODES_ADMIN),
    ("GET", "/api/replicas", Scope.NODES_READ),
    ("GET", "/api/metrics", Scope.METRICS_READ),
    ("GET", "/api/metrics/history", Scope.METRICS_READ),
    ("GET", "/metrics", Scope.METRICS_READ),
    ("GET", "/api/scaling/capacity", Scope.METRICS_READ),
    ("GET", "/api/scaling/recommendations", Scope.METRICS_READ),
    ("POST", "/api/scaling/evaluate", Scope.METRICS_READ),
    ("GET", "/api/scaling/history", Scope.METRICS_READ),
    ("GET", "/api/scaling/alerts", Scope.METRICS_READ),
]
OPEN = {"/health", "/health/ready", "/openapi.json", "/docs"}
BY_NODE_TOKEN = {
    "/api/nodes/room-servers/register",
    "/api/nodes/room-servers/heartbeat",
    "/api/nodes/ffmpeg-nodes/register",
    "/api/nodes/ffmpeg-nodes/heartbeat",
}


def public_pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: Any) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authenticator(**fields: Any) -> Authenticator:
    return Authenticator(OrchestratorSettings(_env_file=None, **fields), lambda: NOW)


def _filled(path: str) -> str:
    examples = {"{jobId}": "job-1", "{nodeId}": "node-1", "{webhookId}": "hook-1", "{tenantId}": "t"}
    examples |= {"{name}": "poster.jpg"}
    return functools.reduce(lambda filled, name: filled.replace(name, examples[name]), examples, path)


def test_the_matrix_covers_every_endpoint(app: FastAPI) -> None:
    documented = {
        (method.upper(), _filled(path)) for path, methods in app.openapi()["paths"].items() for method in methods
    }
    guarded = {(method, path) for method, path, _ in ENDPOINTS if method != "HEAD"}
    assert {path for _, path in documented - guarded} == BY_NODE_TOKEN | {"/health", "/health/ready"}
    assert guarded <= documented


@pytest.mark.parametrize(("method", "path", "scope"), ENDPOINTS)
async def test_each_endpoint_needs_its_scope(
    client: httpx2.AsyncClient, commands: RecordingCommands, method: str, path: str, scope: Scope
) -> None:
    without = await client.request(method, path, json={})
    assert without.status_code == 401
    assert without.headers["www-authenticate"] == "Bearer"
    others = tuple(each for each in Scope if each is not scope)
    wrong = await client.request(method, path, json={}, headers=bearer(*others))
    assert wrong.status_code == 403
    if method != "HEAD":
        assert wrong.json()["code"] == "missing_scope"
    assert commands.calls == []
    right = await client.request(method, path, json={}, headers=bearer(scope))
    assert right.status_code not in {401, 403, 500}


@pytest.mark.parametrize(
    "made",
    [
        "",
        "x",
        "a.b.c",
        "ä" * 20,
        "x" * 9000,
        token(secret=SECRET.upper()),
        token(now=NOW - 7200),
        token(now=NOW, ttl_s=0),
        token(now=NOW + 3600),
        jwt.encode(CLAIMS, "", algorithm="none"),
        jwt.encode(CLAIMS, SECRET, algorithm="HS512"),
        jwt.encode({"sub": "tester"}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"exp": "soon"}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"exp": True}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"exp": float("nan")}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"exp": 1e300}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"nbf": NOW + 60}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"tenantId": ""}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"tenantId": None}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"tenantId": "a\nb"}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"tenantId": ["a"]}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"scope": 7}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"scopes": "recordings:read"}, SECRET, algorithm="HS256"),
        jwt.encode(CLAIMS | {"sub": "a\nb"}, SECRET, algorithm="HS256"),
    ],
)
async def test_a_bad_token_opens_nothing(made: str) -> None:
    with pytest.raises(Unauthenticated):
        await authenticator(jwt_secret=SECRET).verify(made)


async def test_what_a_good_token_says_is_taken() -> None:
    caller = await authenticator(jwt_secret=SECRET).verify(token("recordings:read", "nodes:read", tenant="university"))
    assert (caller.subject, caller.tenant, caller.expires_at) == ("tester", "university", NOW + 3600)
    assert caller.scopes == {"recordings:read", "nodes:read"}
    caller.require(Scope.NODES_READ)
    with pytest.raises(Forbidden):
        caller.require(Scope.NODES_ADMIN)


async def test_scopes_may_be_a_list() -> None:
    made = jwt.encode(CLAIMS | {"scopes": ["metrics:read", 7]}, SECRET, algorithm="HS256")
    caller = await authenticator(jwt_secret=SECRET).verify(made)
    assert caller.scopes == {"recordings:read", "metrics:read"}


async def test_a_remembered_token_still_expires() -> None:
    now = [NOW]
    settings = OrchestratorSettings(_env_file=None, jwt_secret=SECRET)
    guard = Authenticator(settings, lambda: now[0])
    made = token(ttl_s=10)
    await guard.verify(made)
    now[0] += 9.9
    assert guard.remaining_s(await guard.verify(made)) == pytest.approx(0.1)
    now[0] += 0.1
    with pytest.raises(Unauthenticated) as refused:
        await guard.verify(made)
    assert refused.value.code == "token_expired"


async def test_audience_and_issuer_are_checked_when_set() -> None:
    guard = authenticator(jwt_secret=SECRET, jwt_audience="recorder", jwt_issuer="edumeet")
    right = CLAIMS | {"aud": ["other", "recorder"], "iss": "edumeet"}
    await guard.verify(jwt.encode(right, SECRET, algorithm="HS256"))
    for wrong in ({"aud": "other"}, {"iss": "other"}):
        with pytest.raises(Unauthenticated):
            await guard.verify(jwt.encode(right | wrong, SECRET, algorithm="HS256"))
    with pytest.raises(Unauthenticated):
        await guard.verify(jwt.encode(CLAIMS, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_public_key_verifies_with_its_own_algorithm_only(algorithm: str) -> None:
    key = KEYS[algorithm]
    guard = authenticator(jwt_public_key=public_pem(key).replace("\n", "\\n"))
    await guard.verify(jwt.encode(CLAIMS, private_pem(key), algorithm=algorithm))
    for other, foreign in KEYS.items():
        if other != algorithm:
            with pytest.raises(Unauthenticated):
                await guard.verify(jwt.encode(CLAIMS, private_pem(foreign), algorithm=other))


def hs256_with(public: bytes) -> str:
    """A token signed as HS256 with a public key as the secret: PyJWT itself would refuse to make it."""
    import base64
    import hashlib
    import hmac

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(CLAIMS).encode())
    return (signed + b"." + part(hmac.new(public, signed, hashlib.sha256).digest())).decode()


async def test_a_public_key_is_no_secret() -> None:
    pem = public_pem(RSA_KEY)
    for guard in (authenticator(jwt_public_key=pem), authenticator(jwt_public_key=pem, jwt_secret=SECRET)):
        with pytest.raises(Unauthenticated):
            await guard.verify(hs256_with(pem.encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"jwt_public_key": "nonsense"},
        {"jwt_public_key": public_pem(ec.generate_private_key(ec.SECP384R1()))},
    ],
)
def test_without_a_usable_key_nothing_starts(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="JWT_"):
        authenticator(**fields)


def test_only_signing_keys_of_known_algorithms_are_taken_from_a_jwks() -> None:
    good = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    symmetric = {"kty": "oct", "kid": "s", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
    document = {
        "keys": [
            good | {"kid": "a"},
            good | {"kid": "b", "use": "enc"},
            good | {"kid": "c", "alg": "RS512"},
            symmetric,
        ]
    }
    assert set(keys_of(document)) == {"a", None}
    assert keys_of(document)["a"][0] == "RS256"


@pytest.mark.parametrize("document", [[], {}, {"keys": []}, {"keys": 7}, "text", None])
def test_what_is_no_jwks_is_refused(document: object) -> None:
    with pytest.raises((TypeError, ValueError, jwt.PyJWTError)):
        keys_of(document)


async def test_many_tokens_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edumeet_recording.api.auth.CACHED_TOKENS", 5)
    guard = authenticator(jwt_secret=SECRET)
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(guard.verify(token(ttl_s=100 + number)))
    assert len(guard._verified) == 5
